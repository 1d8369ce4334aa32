package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"

	"github.com/goccy/go-yaml"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/hook"
	"github.com/vagus-hub/vagus/services/ingest/internal/reload"
)

// LoadTokens reads a YAML file with a list "tokens" of name, sha256, sources
// and, if it ends some day, not_after. The list may be empty. Errors carry line
// and column.
func LoadTokens(path string) ([]Token, error) {
	tokens, err := readTokens(path)
	if err != nil || len(tokens) == 0 {
		return nil, err
	}
	if _, err := auth.New(tokens); err != nil {
		return nil, fmt.Errorf("read tokens %s: %w", path, err)
	}
	return tokens, nil
}

func readTokens(path string) ([]Token, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	var file struct {
		Tokens []Token `yaml:"tokens"`
	}
	if err := yaml.UnmarshalWithOptions(data, &file, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read tokens %s: %w", path, err)
	}
	return file.Tokens, nil
}

// readAccess sets tokens, client certificates and hooks from the options. A
// tokens file that does not exist yet is empty: `vagus token new` makes it.
func (s *Service) readAccess() (err error) {
	if s.clients, err = auth.NewClients(s.opts.Clients); err != nil {
		return err
	}
	s.hooks = map[string]*hook.Hook{}
	for name, cfg := range s.opts.Hooks {
		if s.hooks[name], err = hook.New(name, cfg); err != nil {
			return err
		}
	}
	s.tokensFile = reload.New(s.opts.ReloadEvery, s.opts.TokensFile)
	err = s.readTokensFile()
	if errors.Is(err, fs.ErrNotExist) && len(s.opts.Tokens) > 0 {
		return s.SetTokens(s.opts.Tokens)
	}
	return err
}

func (s *Service) readTokensFile() error {
	tokens := s.opts.Tokens
	if s.opts.TokensFile != "" {
		more, err := readTokens(s.opts.TokensFile)
		if err != nil {
			return err
		}
		tokens = append(tokens[:len(tokens):len(tokens)], more...)
	}
	if err := s.SetTokens(tokens); err != nil {
		if s.opts.TokensFile != "" {
			return fmt.Errorf("%s: %w", s.opts.TokensFile, err)
		}
		return err
	}
	return nil
}

// watchTokens follows the tokens file. A file with mistakes is reported, and
// the tokens stay as they were.
func (s *Service) watchTokens(ctx context.Context) error {
	return s.tokensFile.Run(ctx, func() {
		err := s.readTokensFile()
		if errors.Is(err, auth.ErrNone) { // the last one was revoked
			s.tokens.Store(new(auth.Set))
			err = nil
		}
		if err != nil {
			s.opts.Logger.Error("the changed tokens cannot be used, the old ones stay", "error", err)
			return
		}
		s.opts.Logger.Info("tokens read again", "file", s.opts.TokensFile)
	})
}

// bind listens, but not in the clear for the whole network.
func (s *Service) bind() error {
	if s.opts.TLS.Enabled() {
		certs, err := reload.LoadCerts(s.opts.TLS, s.opts.Logger)
		if err != nil {
			return fmt.Errorf("ingest: %w", err)
		}
		certs.LookEvery(s.opts.ReloadEvery)
		s.server.TLSConfig = certs.Config()
		s.runs = append(s.runs, runner{"certificates", certs.Run})
	}
	l, err := net.Listen("tcp", s.opts.Addr)
	if err != nil {
		return fmt.Errorf("listen for logs on %s: %w (choose another address)", s.opts.Addr, err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() && !s.opts.TLS.Enabled() && !s.opts.Insecure {
		_ = l.Close()
		return fmt.Errorf("listen for logs on %s: tokens and logs would cross the network in the clear (set ingest.tls, or ingest.insecure: true if something in front encrypts)", s.opts.Addr)
	}
	s.listener = l
	return nil
}

// certified puts the identity of a verified client certificate into requests.
func (s *Service) certified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			if id, ok := s.clients.Find(r.TLS.PeerCertificates[0]); ok {
				r = r.WithContext(auth.WithCertificate(r.Context(), id))
			}
		}
		next.ServeHTTP(w, r)
	})
}
