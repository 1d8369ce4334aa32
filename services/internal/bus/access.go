package bus

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// User may do a little on an embedded server: a producer that only publishes.
type User struct {
	// Name and the hex SHA-256 hash of the password.
	Name, SHA256 string
	// Publish lists the subjects it may publish to. It may subscribe to
	// nothing but its own inboxes, "_INBOX_<name>.>", for answers.
	Publish []string
}

// LeafListen is where an embedded server takes connections of edges.
type LeafListen struct {
	// Addr is host:port; port 0 takes a free one, see Server.LeafAddr.
	Addr string
	// TLS, without which only a loopback address is listened on, unless
	// Insecure says that something in front encrypts.
	TLS      *tls.Config
	Insecure bool
	// Edges that may connect.
	Edges []Edge
}

// Edge is the credential of one edge: its name, which is also the name of its
// JetStream domain, and the hex SHA-256 hash of its token.
type Edge struct{ Name, SHA256 string }

// LeafRemote connects an embedded server to its hub's.
type LeafRemote struct {
	// URL is nats-leaf://host:port (in the clear, loopback only unless
	// Insecure) or tls://host:port.
	URL string
	// Name and Token are those of the hub's Edge.
	Name, Token string
	// TLS may be nil: the system's authorities then.
	TLS      *tls.Config
	Insecure bool
}

var edgeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$`)

// CheckEdgeName reports why name cannot be an edge's.
func CheckEdgeName(name string) error {
	if !edgeName.MatchString(name) || name == "hub" {
		return fmt.Errorf("edge name %q: want 1 to 32 letters, digits, '_' or '-', and not \"hub\"", name)
	}
	return nil
}

// HubConsumer is the durable with which the hub reads an edge's streams. The
// name differs from edge to edge, as acknowledgements go by it.
func HubConsumer(edge string) string { return "hub-" + edge }

// access decides who may connect and what they may do, in place of the
// server's own lists, so that secrets are kept as hashes.
type access struct {
	token, user, password string
	users                 map[string]*credential
	edges                 map[string]*credential
	// local is what this process's own clients of an edge's account present.
	local string
	ns    atomic.Pointer[server.Server]
}

type credential struct {
	sum  []byte
	user *server.User
}

func newAccess(o ServerOptions) (*access, error) {
	a := &access{token: o.Token, user: o.User, password: o.Password, local: rand.Text(), users: map[string]*credential{}, edges: map[string]*credential{}}
	for _, u := range o.Users {
		sum, err := digest(u.Name, u.SHA256)
		if err != nil {
			return nil, err
		}
		if a.users[u.Name] != nil || u.Name == o.User {
			return nil, fmt.Errorf("user %q is there twice", u.Name)
		}
		a.users[u.Name] = &credential{sum, &server.User{Username: u.Name, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: u.Publish}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_" + u.Name + ".>"}},
		}}}
	}
	if o.Leaf == nil {
		return a, nil
	}
	for _, e := range o.Leaf.Edges {
		if err := CheckEdgeName(e.Name); err != nil {
			return nil, err
		}
		sum, err := digest(e.Name, e.SHA256)
		if err != nil {
			return nil, err
		}
		if a.edges[e.Name] != nil {
			return nil, fmt.Errorf("edge %q is there twice", e.Name)
		}
		// All an edge may do is answer: the hub asks for messages and says
		// which it has. Publish is what comes from the edge.
		consumer := HubConsumer(e.Name)
		a.edges[e.Name] = &credential{sum, &server.User{Username: e.Name, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{inboxPrefix(e.Name) + ".>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{
				"$JS." + e.Name + ".API.>", "$JS.ACK.*." + consumer + ".>", "$JS.ACK.*.*.*." + consumer + ".>",
			}},
		}}}
	}
	return a, nil
}

// inboxPrefix is where the hub's clients of an edge's account get answers.
func inboxPrefix(edge string) string { return "_EDGE." + edge }

func digest(name, text string) ([]byte, error) {
	sum, err := hex.DecodeString(text)
	if name == "" || err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("credential %q: want a name and a SHA-256 hash of 64 hex digits", name)
	}
	return sum, nil
}

// Check implements server.Authentication.
func (a *access) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	ns := a.ns.Load()
	if ns == nil {
		return false
	}
	if c.Kind() == server.LEAF {
		e := a.edges[o.Username]
		if e == nil || !same(o.Password, e.sum) {
			return false
		}
		return a.register(c, ns, o.Username, e.user)
	}
	if e := a.edges[o.Username]; e != nil && equal(o.Password, a.local) {
		return a.register(c, ns, o.Username, &server.User{Username: o.Username})
	}
	if u := a.users[o.Username]; u != nil {
		if !same(o.Password, u.sum) {
			return false
		}
		c.RegisterUser(u.user)
		return true
	}
	if a.user != "" {
		return o.Username == a.user && equal(o.Password, a.password)
	}
	return o.Username == "" && equal(o.Token, a.token)
}

// register puts a connection into the account of an edge, which has no streams
// of its own: whatever an edge sends, it can reach nothing of the hub.
func (a *access) register(c server.ClientAuthentication, ns *server.Server, edge string, u *server.User) bool {
	acc, err := ns.LookupAccount(account(edge))
	if err != nil {
		return false
	}
	user := *u
	user.Account = acc
	c.RegisterUser(&user)
	return true
}

func account(edge string) string { return "EDGE_" + edge }

func same(secret string, sum []byte) bool {
	got := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(got[:], sum) == 1
}

func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// ready lets connections in, once the accounts exist.
func (a *access) ready(ns *server.Server) {
	for name := range maps.Keys(a.edges) {
		ns.LookupOrRegisterAccount(account(name))
	}
	a.ns.Store(ns)
}

// listen configures the port for edges.
func (l *LeafListen) listen(o *server.Options) error {
	host, port, err := net.SplitHostPort(l.Addr)
	if err != nil {
		return fmt.Errorf("leaf address %q: %w (want host:port)", l.Addr, err)
	}
	if ip := net.ParseIP(host); l.TLS == nil && !l.Insecure && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("leaf address %s: tokens and logs would cross the network in the clear (give a certificate, or say that it is to be insecure)", l.Addr)
	}
	// The server would exit the process on a taken port, so try it first.
	try, err := net.Listen("tcp", l.Addr)
	if err != nil {
		return fmt.Errorf("leaf address %s: %w (choose another one)", l.Addr, err)
	}
	o.LeafNode.Host, o.LeafNode.Port = host, try.Addr().(*net.TCPAddr).Port
	o.LeafNode.TLSConfig, o.LeafNode.TLSTimeout = l.TLS, 10
	o.LeafNode.AuthTimeout, o.LeafNode.IsolateLeafnodeInterest, o.LeafNode.NoAdvertise = 10, true, true
	// Big blocks may take long over a thin line.
	o.LeafNode.WriteDeadline = 2 * time.Minute
	o.LeafNode.Compression.Mode = server.CompressionOff // the blocks are compressed
	if port == "0" {
		l.Addr = net.JoinHostPort(host, strconv.Itoa(o.LeafNode.Port))
	}
	return try.Close()
}

// connect configures the way to the hub.
func (l *LeafRemote) connect(o *server.Options) error {
	if err := CheckEdgeName(l.Name); err != nil {
		return err
	}
	u, err := url.Parse(l.URL)
	if err != nil || u.Port() == "" || (u.Scheme != "nats-leaf" && u.Scheme != "tls") {
		return fmt.Errorf("hub %q: want nats-leaf://host:port or tls://host:port", l.URL)
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	secure := u.Scheme == "tls" || l.TLS != nil
	if !secure && !local && !l.Insecure {
		return fmt.Errorf("hub %s: the token and the logs would cross the network in the clear (use tls://, or say that it is to be insecure)", l.URL)
	}
	if l.Token == "" {
		return errors.New("hub: no token given")
	}
	u.User = url.UserPassword(l.Name, l.Token)
	remote := &server.RemoteLeafOpts{
		URLs: []*url.URL{u}, TLS: secure, TLSConfig: l.TLS, TLSTimeout: 10, DialTimeout: 10 * time.Second, FirstInfoTimeout: 10 * time.Second,
		// What the edge tells nobody, whatever the hub's rules are.
		DenyExports: []string{"raw.>", "dead.>", "events.>", "$KV.>", "$O.>"},
		DenyImports: []string{"raw.>", "dead.>", "events.>", "$KV.>", "$O.>"},
	}
	if secure && l.TLS == nil {
		remote.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	}
	o.ServerName, o.JetStreamDomain = "vagus-"+l.Name, l.Name
	o.LeafNode.ReconnectInterval = time.Second
	o.LeafNode.WriteDeadline = 2 * time.Minute
	o.LeafNode.Remotes = []*server.RemoteLeafOpts{remote}
	return nil
}

// LeafAddr is where edges connect; empty if nowhere.
func (s *Server) LeafAddr() string {
	if s.opts.Leaf == nil {
		return ""
	}
	return s.opts.Leaf.Addr
}

// LeafConnected reports whether there is a connection to the hub now.
func (s *Server) LeafConnected() bool { return s.ns.NumLeafNodes() > 0 }
