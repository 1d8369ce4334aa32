package chhttp

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
)

// accounts knows the users; passwords are kept as digests only.
type accounts map[string]account

type account struct {
	user   User
	digest [sha256.Size]byte
}

func newAccounts(users []User) accounts {
	a := make(accounts, len(users))
	for _, u := range users {
		d := sha256.Sum256([]byte(u.Password))
		u.Password = ""
		a[u.Name] = account{user: u, digest: d}
	}
	return a
}

// authenticate takes the credentials from the first place that has some:
// the X-ClickHouse headers, Basic authentication, the URL.
func (a accounts) authenticate(r *http.Request) (User, error) {
	name, password, given := credentials(r)
	acc, known := a[name]
	got := sha256.Sum256([]byte(password))
	if subtle.ConstantTimeCompare(got[:], acc.digest[:]) != 1 || !known {
		ex := exceptionf(codeAuth, "AUTHENTICATION_FAILED", "%s: Authentication failed: password is incorrect, or there is no user with such name", printable(name))
		ex.noCredentials = !given
		return User{}, ex
	}
	return acc.user, nil
}

func credentials(r *http.Request) (name, password string, given bool) {
	if u, k := r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key"); u != "" || k != "" {
		return orDefault(u), k, true
	}
	if u, p, ok := r.BasicAuth(); ok {
		return orDefault(u), p, true
	}
	q := queryOf(r)
	if q.Has("user") || q.Has("password") {
		return orDefault(q.Get("user")), q.Get("password"), true
	}
	return "default", "", false
}

func queryOf(r *http.Request) url.Values { return r.URL.Query() }

func orDefault(user string) string {
	if user == "" {
		return "default"
	}
	return user
}

// printable keeps a hostile name from shaping the answer.
func printable(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
