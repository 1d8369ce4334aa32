package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded"
)

// progress is a bar on a terminal, and nothing elsewhere but its notes.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	what  string
	tty   bool
	at    int64
	total int64
	begin time.Time
	drawn time.Time
	count int // records
}

func newProgress(w io.Writer, what string) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, what: what, tty: ok && isatty.IsTerminal(f.Fd()), begin: time.Now()}
}

func (p *progress) expect(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total += n
}

func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at += n
	if p.tty && time.Since(p.drawn) > 100*time.Millisecond {
		p.draw()
	}
}

// records counts what was sent.
func (p *progress) records(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count += n
}

func (p *progress) draw() {
	p.drawn = time.Now()
	seconds := max(time.Since(p.begin).Seconds(), 0.001)
	rate := float64(p.at) / seconds / 1e6
	more := ""
	if p.count > 0 {
		more = fmt.Sprintf(", %.0f records/s", float64(p.count)/seconds)
	}
	if left := p.total - p.at; left > 0 && p.at > 0 {
		more += ", " + (time.Duration(float64(left)/float64(p.at)*seconds) * time.Second).String() + " left"
	}
	if p.total <= 0 {
		fmt.Fprintf(p.w, "\r\x1b[K%s %.1f MB, %.1f MB/s%s", p.what, float64(p.at)/1e6, rate, more)
		return
	}
	const width = 30
	full := int(min(p.at*width/p.total, width))
	fmt.Fprintf(p.w, "\r\x1b[K%s [%s%s] %3d %%, %.1f MB/s%s", p.what, strings.Repeat("=", full), strings.Repeat(" ", width-full), min(p.at*100/p.total, 100), rate, more)
}

func (p *progress) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	fmt.Fprintln(p.w, text)
}

func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty && p.at > 0 {
		p.draw()
		fmt.Fprintln(p.w)
	}
}

// fetchProgress shows the one-time download of the engine.
func fetchProgress(w io.Writer) func(embedded.Progress) {
	step := ""
	f, ok := w.(*os.File)
	tty := ok && isatty.IsTerminal(f.Fd())
	last := time.Now()
	return func(p embedded.Progress) {
		if p.Step != step {
			if step != "" && tty {
				fmt.Fprintln(w)
			}
			step = p.Step
			fmt.Fprintf(w, "ClickHouse engine: %s", step)
			if !tty {
				fmt.Fprintln(w)
			}
		}
		if tty && p.Total > 0 && time.Since(last) > 100*time.Millisecond {
			last = time.Now()
			fmt.Fprintf(w, "\r\x1b[KClickHouse engine: %s %d %%", step, p.Done*100/p.Total)
		}
		if tty && p.Total > 0 && p.Done >= p.Total {
			fmt.Fprintln(w)
			step = ""
		}
	}
}
