package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// sender posts batches to ingest and repeats them until they are stored. A
// batch has the same key on every attempt, so a repeat is stored once.
type sender struct {
	url, token, source string
	client             *http.Client
	onRetry            func(error)
}

// answer is what ingest says of a batch.
type answer struct {
	Accepted  int    `json:"accepted"`
	Dead      int    `json:"dead"`
	Duplicate bool   `json:"duplicate"` // all of it was there already
	Error     string `json:"error"`
}

// send posts one batch; errors that no repeat mends end it.
func (s *sender) send(ctx context.Context, key string, body []byte) (answer, error) {
	wait := 200 * time.Millisecond
	for {
		got, after, err := s.try(ctx, key, body)
		if err == nil || after < 0 || ctx.Err() != nil {
			return got, err
		}
		if s.onRetry != nil {
			s.onRetry(err)
		}
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case <-time.After(max(after, wait)):
		}
		wait = min(wait*2, 5*time.Second)
	}
}

// try returns how long to wait before the next attempt, negative for never.
func (s *sender) try(ctx context.Context, key string, body []byte) (answer, time.Duration, error) {
	var got answer
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/ingest/"+s.source, bytes.NewReader(body))
	if err != nil {
		return got, -1, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Idempotency-Key", key)
	resp, err := s.client.Do(req)
	if err != nil {
		return got, 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return got, 0, err
	}
	_ = json.Unmarshal(text, &got)
	if resp.StatusCode == http.StatusOK {
		return got, 0, nil
	}
	err = fmt.Errorf("send: %s: %s", resp.Status, got.Error)
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 || resp.StatusCode == http.StatusRequestTimeout {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return got, time.Duration(seconds) * time.Second, err
	}
	return got, -1, err
}

// batchKey names a batch by what is in it and where it stood.
func batchKey(name string, offset int64, body []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00", name, offset)
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (a *app) sendCommand() *cobra.Command {
	var source, url, token, state string
	var batch, rate int
	var auto, follow, again, asJSON bool
	c := &cobra.Command{
		Use: "send FILE|FOLDER|PATTERN…", Short: "Send files of logs, also packed ones; - is standard input", Args: cobra.MinimumNArgs(1),
		Long: `Send files of logs. Files packed with gzip or zstd are unpacked; of a folder all
files are sent in the order of their names, those of folders within, too. What
the hub cannot take at the moment is sent again, and stored once. With --resume
the command goes on where it was interrupted.`,
		Example: `  vagus send --source nginx.access /var/log/nginx/ai.json
  vagus send --source nginx.access --follow /var/log/nginx/ai.json
  vagus send --auto --rate 5000 --resume archive.state /srv/archive`,
	}
	c.Flags().StringVar(&source, "source", "", "source id, see `vagus sources list` (or --auto)")
	c.Flags().BoolVar(&auto, "auto", false, "recognise the source of each record from its content")
	c.Flags().StringVar(&url, "url", "", "ingest of another hub (default: the running one)")
	c.Flags().StringVar(&token, "token", "", "its token, or env:NAME (default: the running hub's)")
	c.Flags().IntVar(&batch, "batch", 768<<10, "bytes a request")
	c.Flags().IntVar(&rate, "rate", 0, "records a second at most (default: as fast as they are taken)")
	c.Flags().StringVar(&state, "resume", "", "file that keeps how far was sent; the same command goes on from there")
	c.Flags().BoolVar(&follow, "follow", false, "go on as the file grows, also when it is rotated; the position is kept, so that a restart goes on where it was")
	c.Flags().BoolVar(&again, "again", false, "send as new what was sent before (default: a repeat is stored once)")
	c.Flags().BoolVar(&asJSON, "json", false, "print the summary as JSON")
	c.MarkFlagsOneRequired("source", "auto")
	c.MarkFlagsMutuallyExclusive("source", "auto")
	c.MarkFlagsMutuallyExclusive("follow", "resume")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if auto {
			source = "auto"
		}
		if follow && len(args) > 1 {
			return errors.New("send: --follow takes one file")
		}
		if batch < 1<<10 || batch > maxLine || rate < 0 {
			return fmt.Errorf("send: --batch must be 1024 to %d, --rate not negative", maxLine)
		}
		s := &sender{source: source, url: url, token: token, client: &http.Client{Timeout: 2 * time.Minute}}
		if url == "" {
			state, err := a.state()
			if err != nil {
				return err
			}
			s.url, s.token = state.IngestURL, state.IngestToken
		} else if name, ok := cutPrefix(token, "env:"); ok {
			s.token = os.Getenv(name)
		}
		places, err := openResume(state)
		if err != nil {
			return err
		}
		bar := newProgress(cmd.ErrOrStderr(), "sending")
		s.onRetry = func(err error) { bar.note("trying again: " + err.Error()) }
		f := &feeder{sender: s, size: batch, bar: bar, rate: rate, resume: places, begin: time.Now()}
		if again {
			f.salt = time.Now().Format(time.RFC3339Nano)
		}
		if follow && args[0] != "-" {
			state, err := a.stateFile(source, url, args[0])
			if err != nil {
				return err
			}
			if again {
				if err := os.Remove(state); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
			err = (&follower{feeder: f, name: args[0], state: state}).run(cmd.Context())
			bar.done()
			return errors.Join(err, f.summary(cmd.OutOrStdout(), asJSON, false))
		}
		return f.all(cmd, args, asJSON)
	}
	return c
}

// all sends the files of the arguments one after the other.
func (f *feeder) all(cmd *cobra.Command, args []string, asJSON bool) error {
	names, err := expand(args)
	if err != nil {
		return err
	}
	for _, name := range names {
		if st, err := os.Stat(name); name != "-" && err == nil {
			f.bar.expect(st.Size())
		}
	}
	for _, name := range names {
		if err = f.file(cmd.Context(), name, cmd.InOrStdin()); err != nil {
			break
		}
	}
	f.bar.done()
	stopped := err != nil && cmd.Context().Err() != nil
	if serr := f.summary(cmd.OutOrStdout(), asJSON, err != nil); serr != nil {
		return errors.Join(err, serr)
	}
	if stopped {
		how := "the same command with --resume " + f.resume.path + " goes on from here"
		if f.resume.path == "" {
			how = "the same command begins at the beginning; what was stored in the last minutes is not stored again (with --resume FILE a later one goes on)"
		}
		return fmt.Errorf("send: stopped: %s", how)
	}
	return err
}

// summary prints what became of the records.
func (f *feeder) summary(w io.Writer, asJSON, incomplete bool) error {
	if !asJSON {
		_, err := fmt.Fprintf(w, "%d records accepted, %d dead letters, %d were there already\n", f.total.Accepted, f.total.Dead, f.repeated)
		return err
	}
	seconds := time.Since(f.begin).Seconds()
	return json.NewEncoder(w).Encode(map[string]any{
		"accepted": f.total.Accepted, "dead": f.total.Dead, "duplicate": f.repeated, "bytes": f.bytes, "files": f.files, "complete": !incomplete,
		"seconds": seconds, "records_per_second": float64(f.total.Accepted+f.total.Dead) / max(seconds, 0.001),
	})
}

func cutPrefix(s, p string) (string, bool) {
	if len(s) >= len(p) && s[:len(p)] == p {
		return s[len(p):], true
	}
	return s, false
}
