package embedded_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

// post sends a statement as the given user and returns status and body.
func post(t *testing.T, base, user, query string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+base+"/", strings.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, embeddedtest.Password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func TestHostFilesAreOutOfReach(t *testing.T) {
	e := embeddedtest.Engine(t)
	for name, sql := range map[string]string{
		"file function":        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
		"file scalar":          "SELECT file('/etc/passwd')",
		"filesystem database":  "SELECT * FROM `/etc/passwd`",
		"qualified filesystem": "SELECT * FROM default.`/etc/hosts`",
		"url":                  "SELECT * FROM url('http://192.0.2.1/', 'LineAsString')",
		"executable":           "SELECT * FROM executable('x.sh', 'TSV', 'a String')",
		"outfile":              "SELECT 1 INTO OUTFILE '/tmp/vagus-outfile-test'",
		"insert into file":     "INSERT INTO FUNCTION file('/tmp/vagus-x.csv', 'CSV', 'a Int32') VALUES (1)",
		"filesystem engine":    "CREATE DATABASE vagus_fs ENGINE = Filesystem('/etc')",
		"file engine":          "CREATE TABLE vagus_file (a String) ENGINE = File('LineAsString')",
	} {
		t.Run(name, func(t *testing.T) {
			for _, user := range []string{embeddedtest.Admin, embeddedtest.Reader} {
				status, body, _ := post(t, e.Addr(), user, sql)
				if status == http.StatusOK {
					t.Errorf("%s: want a refusal, got %.200q", user, body)
				}
				t.Logf("%s: %d %.160s", user, status, body)
			}
		})
	}
}
