package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
)

// rawHTTP sends what clickhouse-go cannot: it always asks for its own protocol
// revision, while blocks on the bus have revision 0.
type rawHTTP struct {
	client *http.Client
	base   url.URL
	auth   chgo.Auth
	args   url.Values
}

func newRawHTTP(o *chgo.Options) rawHTTP {
	r := rawHTTP{auth: o.Auth, base: url.URL{Scheme: "http", Host: o.Addr[0], Path: "/"}, args: url.Values{}}
	if o.TLS != nil {
		r.base.Scheme = "https"
	}
	for name, v := range o.Settings {
		r.args.Set(name, fmt.Sprint(v))
	}
	r.args.Set("database", o.Auth.Database)
	r.client = &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: o.DialTimeout}).DialContext,
		TLSClientConfig:     o.TLS,
		MaxIdleConnsPerHost: maxIdleConns,
		MaxConnsPerHost:     maxOpenConns,
		DisableCompression:  true,
	}}
	return r
}

func (r *rawHTTP) close() { r.client.CloseIdleConnections() }

// SelectNative runs a SELECT with `{name:Type}` parameters and returns its
// result as Native blocks of revision 0, streamed. A failure under way is
// returned by Read. The caller closes the result; closing it early, or ending
// ctx, cancels the statement.
func (c *Client) SelectNative(ctx context.Context, sql string, params map[string]string) (io.ReadCloser, error) {
	args := url.Values{}
	for k, v := range c.raw.args {
		args[k] = v
	}
	for name, v := range params {
		args.Set("param_"+name, v)
	}
	args.Set("default_format", "Native")
	u := c.raw.base
	u.RawQuery = args.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(sql))
	if err != nil {
		return nil, fmt.Errorf("query clickhouse: %w", err)
	}
	req.SetBasicAuth(c.raw.auth.Username, c.raw.auth.Password)
	res, err := c.raw.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("query clickhouse: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()
		text, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorText))
		return nil, fmt.Errorf("query clickhouse: %w", exception(string(text), res.StatusCode))
	}
	return &result{body: res.Body, mark: []byte("\r\n__exception__\r\n" + res.Header.Get("X-ClickHouse-Exception-Tag"))}, nil
}

// maxErrorText bounds an error text, in bytes; a server's is at most 16 KiB.
const maxErrorText = 20 << 10

var exceptionText = regexp.MustCompile(`(?s)Code:\s*(\d+)\.\s*(?:DB::Exception:\s*)?(.*)`)

// exception makes the same error of a text that clickhouse-go makes.
func exception(text string, status int) error {
	m := exceptionText.FindStringSubmatch(text)
	if m == nil {
		return &chgo.HTTPError{StatusCode: status, Err: fmt.Errorf("body: %.200q", text)}
	}
	code, _ := strconv.Atoi(m[1])
	ex := &chgo.Exception{Code: int32(code), Message: strings.TrimSpace(m[2])}
	if status == http.StatusOK {
		return ex
	}
	return &chgo.HTTPError{StatusCode: status, Err: ex}
}

// result is a streamed result. It holds back the last bytes: when a statement
// fails under way, the server puts the error there.
type result struct {
	body io.ReadCloser
	mark []byte
	buf  []byte
	pos  int
	err  error
}

// Read takes bytes of the result, never those of an error.
func (r *result) Read(p []byte) (int, error) {
	for r.err == nil && len(r.buf)-r.pos <= maxErrorText {
		if r.pos > 0 && cap(r.buf)-len(r.buf) < 64<<10 {
			r.buf = r.buf[:copy(r.buf, r.buf[r.pos:])]
			r.pos = 0
		}
		if cap(r.buf)-len(r.buf) < 64<<10 {
			r.buf = append(make([]byte, 0, 256<<10), r.buf...)
		}
		n, err := r.body.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+n]
		if err != nil {
			r.end(err)
		}
	}
	ready := len(r.buf) - r.pos
	if r.err == nil {
		ready -= maxErrorText
	}
	if ready == 0 {
		return 0, r.err
	}
	n := copy(p, r.buf[r.pos:r.pos+ready])
	r.pos += n
	return n, nil
}

// end looks for an error at the end of the data.
func (r *result) end(err error) {
	r.err = err
	if i := bytes.LastIndex(r.buf, r.mark); i >= r.pos {
		r.err = exception(string(r.buf[i:]), http.StatusOK)
		r.buf = r.buf[:i]
	} else if !errors.Is(err, io.EOF) {
		r.err = fmt.Errorf("read clickhouse result: %w", err)
	}
}

// Close ends the statement if it still runs.
func (r *result) Close() error { return r.body.Close() }
