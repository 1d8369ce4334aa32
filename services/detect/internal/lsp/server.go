package lsp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/author/lint"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/sigma"
)

// Options configures a server.
type Options struct {
	Version string
	// Rules are the built-in ones, which correlations may name.
	Rules []*rule.Rule
	// Feeds lists what the mappings make; see lint.Options.
	Feeds []lint.Feed
}

// The bounds of a server's memory beside that of the messages.
const (
	maxDocuments = 64
	settle       = 150 * time.Millisecond // of typing, before a text is checked
)

// Server answers one editor. Serve runs it.
type Server struct {
	opts      Options
	out       io.Writer
	documents map[string]*document
	due       map[string]time.Time // documents to be checked
	workspace []*rule.Rule
	sigma     *sigma.Workspace
	read      map[string]stamp // Sigma's files of the workspace
	root      string
	started   bool
	shutdown  bool
}

// ErrNoShutdown is what Serve returns if the editor left without saying so.
var ErrNoShutdown = errors.New("the editor left without shutting down")

// errExit ends the loop after the notification exit.
var errExit = errors.New("exit")

// Serve answers requests from in until the editor says exit, in ends, or ctx
// does. One goroutine reads, this one does all the rest.
func Serve(ctx context.Context, in io.Reader, out io.Writer, opts Options) error {
	s := &Server{opts: opts, out: out, documents: map[string]*document{}, due: map[string]time.Time{},
		sigma: sigma.NewWorkspace(), read: map[string]stamp{}}
	type incoming struct {
		body []byte
		err  error
	}
	messages := make(chan incoming)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		r := bufio.NewReader(in)
		for {
			body, err := readFrame(r)
			select {
			case messages <- incoming{body, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		var timer <-chan time.Time
		if next, ok := s.next(); ok {
			timer = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer:
			if err := s.publishDue(time.Now()); err != nil {
				return err
			}
		case m := <-messages:
			if errors.Is(m.err, io.EOF) {
				return s.end()
			}
			if m.err != nil {
				return m.err // what follows cannot be told apart
			}
			if err := s.handle(m.body); errors.Is(err, errExit) {
				return s.end()
			} else if err != nil {
				return err
			}
		}
	}
}

func (s *Server) end() error {
	if s.shutdown || !s.started {
		return nil
	}
	return ErrNoShutdown
}

// next is when the next document is to be checked.
func (s *Server) next() (time.Time, bool) {
	var next time.Time
	for _, t := range s.due {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	return next, !next.IsZero()
}

func (s *Server) publishDue(now time.Time) error {
	for uri, t := range s.due {
		if t.After(now) {
			continue
		}
		delete(s.due, uri)
		d := s.documents[uri]
		if d == nil {
			continue
		}
		var problems []diagnostic
		if err := s.safely(func() { problems = s.diagnose(d) }); err != nil {
			problems = []diagnostic{{Range: d.span(1, 1), Severity: 1, Source: "vagus", Message: err.Error()}}
		}
		if err := s.notify("textDocument/publishDiagnostics", diagnosticsParams{uri, d.version, problems}); err != nil {
			return err
		}
	}
	return nil
}

// safely keeps the server up whatever a text does to the code that reads it.
func (s *Server) safely(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	f()
	return nil
}

func (s *Server) notify(method string, params any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	return s.send(message{JSONRPC: "2.0", Method: method, Params: raw})
}

func (s *Server) send(m message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return writeFrame(s.out, body)
}

// handle answers a request or takes a notification.
func (s *Server) handle(body []byte) error {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return s.send(message{JSONRPC: "2.0", ID: json.RawMessage("null"), Error: &rpcError{codeParse, err.Error()}})
	}
	if m.Method == "" { // an answer: the server asks nothing
		return nil
	}
	if m.Method == "exit" {
		return errExit
	}
	var result any
	var failed *rpcError
	if err := s.safely(func() { result, failed = s.call(m) }); err != nil {
		failed = &rpcError{codeInternal, err.Error()}
	}
	if len(m.ID) == 0 {
		return nil
	}
	answer := message{JSONRPC: "2.0", ID: m.ID, Error: failed}
	if failed == nil {
		raw, err := json.Marshal(result)
		if err != nil {
			return err
		}
		answer.Result = raw
	}
	return s.send(answer)
}

func (s *Server) call(m message) (any, *rpcError) {
	switch m.Method {
	case "initialize":
		var p initializeParams
		if err := json.Unmarshal(m.Params, &p); err != nil {
			return nil, &rpcError{codeParams, err.Error()}
		}
		return s.initialize(p), nil
	case "shutdown":
		s.shutdown = true
		return nil, nil
	}
	if !s.started || s.shutdown {
		return nil, &rpcError{codeNotStarted, "the server is not initialized"}
	}
	if strings.HasPrefix(m.Method, "$/") || m.Method == "initialized" || strings.HasPrefix(m.Method, "workspace/") {
		return nil, nil
	}
	var p documentParams
	if err := json.Unmarshal(m.Params, &p); err != nil {
		return nil, &rpcError{codeParams, err.Error()}
	}
	return s.document(m.Method, p)
}

func (s *Server) initialize(p initializeParams) any {
	s.started = true
	s.root = filePath(p.RootURI)
	if s.root == "" && len(p.WorkspaceFolders) > 0 {
		s.root = filePath(p.WorkspaceFolders[0].URI)
	}
	s.reload()
	return map[string]any{
		"serverInfo": map[string]string{"name": "vagus", "version": s.opts.Version},
		"capabilities": map[string]any{
			"positionEncoding":       "utf-16",
			"textDocumentSync":       map[string]any{"openClose": true, "change": 2, "save": true},
			"completionProvider":     map[string]any{"triggerCharacters": []string{".", "{", "[", " ", ":", "-"}},
			"hoverProvider":          true,
			"documentSymbolProvider": true,
			"codeActionProvider":     map[string]any{"codeActionKinds": []string{"quickfix"}},
		},
	}
}

// reload reads the workspace's rules, which correlations may name.
func (s *Server) reload() {
	dir := rulesFolder(s.root)
	if dir == "" {
		return
	}
	if rules, _, err := rule.LoadFS(os.DirFS(dir), ".", "rules/"); err == nil || !errors.Is(err, fs.ErrNotExist) {
		s.workspace = rules
	}
	s.reloadSigma(dir)
}

// rulesFolder is the folder rules of a workspace, or the one that the workspace
// lies in: some editors take the folder of a file for one. "" if there is none.
func rulesFolder(root string) string {
	if root == "" {
		return ""
	}
	dir := filepath.Join(root, "rules")
	if i, err := os.Stat(dir); err == nil && i.IsDir() {
		return dir
	}
	for p := filepath.Clean(root); p != filepath.Dir(p); p = filepath.Dir(p) {
		if filepath.Base(p) == "rules" {
			return p
		}
	}
	return ""
}

// known are the rules that a text may name.
func (s *Server) known() []*rule.Rule { return slices.Concat(s.opts.Rules, s.workspace) }

func (s *Server) feeds() []lint.Feed { return s.opts.Feeds }

func (s *Server) products() []string {
	var out []string
	for _, f := range s.opts.Feeds {
		if !slices.Contains(out, f.Source) {
			out = append(out, f.Source)
		}
	}
	return out
}

func (s *Server) document(method string, p documentParams) (any, *rpcError) {
	uri := p.TextDocument.URI
	d := s.documents[uri]
	if method == "textDocument/didOpen" {
		if d == nil && len(s.documents) >= maxDocuments {
			return nil, &rpcError{codeInvalid, fmt.Sprintf("more than %d files are open", maxDocuments)}
		}
		d = &document{uri: uri, name: ruleName(uri)}
		d.set(p.TextDocument.Text, p.TextDocument.Version)
		s.documents[uri] = d
		s.due[uri] = time.Now()
		return nil, nil
	}
	if d == nil {
		return nil, &rpcError{codeParams, "the file is not open"}
	}
	switch method {
	case "textDocument/didChange":
		for _, c := range p.Changes {
			d.apply(c)
		}
		d.version = p.TextDocument.Version
		s.due[uri] = time.Now().Add(settle)
		return nil, nil
	case "textDocument/didSave":
		s.reload()
		s.due[uri] = time.Now()
		return nil, nil
	case "textDocument/didClose":
		delete(s.documents, uri)
		delete(s.due, uri)
		_ = s.notify("textDocument/publishDiagnostics", diagnosticsParams{URI: uri, Diagnostics: []diagnostic{}})
		return nil, nil
	case "textDocument/completion":
		return s.complete(d, p.Position), nil
	case "textDocument/hover":
		if h := s.hover(d, p.Position); h != nil {
			return h, nil
		}
		return nil, nil
	case "textDocument/documentSymbol":
		return symbols(d), nil
	case "textDocument/codeAction":
		return actions(d, p.Context.Diagnostics), nil
	}
	return nil, &rpcError{codeNoMethod, "method " + method + " is not supported"}
}

// filePath is the path of a file: URI, "" if it is another.
func filePath(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" {
		return ""
	}
	return filepath.FromSlash(u.Path)
}

// ruleName is <domain>/<slug>.yml of a URI.
func ruleName(uri string) string {
	p := uri
	if u, err := url.Parse(uri); err == nil {
		p = u.Path
	}
	dir, base := path.Split(p)
	return path.Join(path.Base(dir), base)
}
