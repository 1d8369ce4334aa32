//go:build linux || darwin

package embedded

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// EngineVersion is the version of the npm package that holds the engine.
const EngineVersion = "26.7.3-stable.1"

// engineFile is the library's name in the package and in the cache.
const engineFile = "libchdb.so"

// maxEngineSize bounds what is unpacked, in bytes.
const maxEngineSize = 2 << 30

// hint is what to do when the engine cannot be had.
const hint = "or use a ClickHouse server with --clickhouse DSN"

// enginePackage is the npm package of one platform. Integrity is the
// registry's sha512 of the tarball; a platform without one is not pinned yet
// and needs VAGUS_CLICKHOUSE_INTEGRITY.
type enginePackage struct{ name, integrity string }

func packageFor(goos, goarch string) (enginePackage, error) {
	switch goos + "/" + goarch {
	case "linux/amd64":
		return enginePackage{"@chdb/lib-linux-x64-gnu", "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="}, nil
	case "linux/arm64":
		return enginePackage{"@chdb/lib-linux-arm64-gnu", ""}, nil
	case "darwin/arm64":
		return enginePackage{"@chdb/lib-darwin-arm64", ""}, nil
	case "darwin/amd64":
		return enginePackage{"@chdb/lib-darwin-x64", ""}, nil
	}
	return enginePackage{}, fmt.Errorf("fetch clickhouse engine: there is none for %s/%s; use a ClickHouse server with --clickhouse DSN", goos, goarch)
}

// Progress tells how far a fetch has come.
type Progress struct {
	// Step is what is being done, in words for people.
	Step string
	// Done and Total are bytes; Total is zero when it is unknown.
	Done, Total int64
}

// FetchOptions says where libraries are kept and who is told of the progress.
type FetchOptions struct {
	// CacheDir is the folder for all versions; empty is DefaultCacheDir.
	CacheDir string
	// OnProgress is called from the fetching goroutine; nil is fine.
	OnProgress func(Progress)
}

// DefaultCacheDir is `clickhouse` under $VAGUS_CACHE, or under `vagus` in the
// user's cache folder.
func DefaultCacheDir() (string, error) {
	if dir := os.Getenv("VAGUS_CACHE"); dir != "" {
		return filepath.Join(dir, "clickhouse"), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w (set VAGUS_CACHE)", err)
	}
	return filepath.Join(dir, "vagus", "clickhouse"), nil
}

// Cached returns the path of the engine's library if it has been fetched.
func Cached(cacheDir string) (path string, ok bool) {
	if cacheDir == "" {
		var err error
		if cacheDir, err = DefaultCacheDir(); err != nil {
			return "", false
		}
	}
	path = filepath.Join(cacheDir, EngineVersion, engineFile)
	st, err := os.Stat(path)
	return path, err == nil && st.Mode().IsRegular() && st.Size() > 0
}

// Fetch returns the path of the engine's library, getting it with npm when the
// cache lacks it. Several processes may call it at once, one fetches; a fetch
// that was killed half way leaves nothing that a later one would take for
// whole. A tarball whose hash differs from the pinned one is refused.
func Fetch(ctx context.Context, o FetchOptions) (string, error) {
	if o.OnProgress == nil {
		o.OnProgress = func(Progress) {}
	}
	if o.CacheDir == "" {
		var err error
		if o.CacheDir, err = DefaultCacheDir(); err != nil {
			return "", err
		}
	}
	path, ok := Cached(o.CacheDir)
	if ok {
		return path, nil
	}
	pkg, err := packageFor(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("fetch clickhouse engine: %w", err)
	}
	unlock, err := waitLock(ctx, filepath.Join(dir, "fetch.lock"), o.OnProgress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, ok := Cached(o.CacheDir); ok {
		return path, nil // another process was faster
	}
	work := filepath.Join(dir, "fetch.tmp")
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o755)); err != nil {
		return "", fmt.Errorf("fetch clickhouse engine: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	tarball, err := npmPack(ctx, pkg.name+"@"+EngineVersion, work, o.OnProgress)
	if err != nil {
		return "", err
	}
	integrity := cmp.Or(pkg.integrity, os.Getenv("VAGUS_CLICKHOUSE_INTEGRITY"))
	if integrity == "" {
		return "", fmt.Errorf("fetch clickhouse engine: no hash is pinned for %s: set VAGUS_CLICKHOUSE_INTEGRITY to what `npm view %s@%s dist.integrity` says, %s", pkg.name, pkg.name, EngineVersion, hint)
	}
	if err := verify(ctx, tarball, integrity, o.OnProgress); err != nil {
		return "", err
	}
	return path, unpack(ctx, tarball, filepath.Join(work, engineFile), path, o.OnProgress)
}

// waitLock takes the lock that keeps two processes from fetching at once.
func waitLock(ctx context.Context, path string, progress func(Progress)) (unlock func(), err error) {
	for told := false; ; told = true {
		f, err := tryLock(path)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("fetch clickhouse engine: lock: %w", err)
		}
		if !told {
			progress(Progress{Step: "waiting for another process that fetches the ClickHouse engine"})
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("fetch clickhouse engine: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// npmPack downloads the package's tarball into dir.
func npmPack(ctx context.Context, spec, dir string, progress func(Progress)) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("fetch clickhouse engine: npm is needed to download it (%s): install Node.js, %s", spec, hint)
	}
	progress(Progress{Step: "downloading the ClickHouse engine (170 MB, once)"})
	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", dir, spec)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("fetch clickhouse engine: npm pack %s: %w: %s (is the npm registry reachable? %s)", spec, err, lastLines(errs.String()+out.String()), hint)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("fetch clickhouse engine: npm pack %s left %d tarballs, not one", spec, len(found))
	}
	return found[0], nil
}

// verify compares the tarball's hash with the registry's notation of it.
func verify(ctx context.Context, path, integrity string, progress func(Progress)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("verify clickhouse engine: %w", err)
	}
	defer func() { _ = f.Close() }()
	h := sha512.New()
	if _, err := io.Copy(h, counted(ctx, f, "verifying the ClickHouse engine", progress)); err != nil {
		return fmt.Errorf("verify clickhouse engine: %w", err)
	}
	if got := "sha512-" + base64.StdEncoding.EncodeToString(h.Sum(nil)); got != integrity {
		return fmt.Errorf("verify clickhouse engine: the hash of the download is %s, not the pinned %s: the registry or a proxy delivered something else; do not use it, %s", got, integrity, hint)
	}
	return nil
}

// unpack writes the library beside its place and moves it there when whole.
func unpack(ctx context.Context, tarball, tmp, path string, progress func(Progress)) error {
	f, err := os.Open(tarball)
	if err != nil {
		return fmt.Errorf("unpack clickhouse engine: %w", err)
	}
	defer func() { _ = f.Close() }()
	gz, err := gzip.NewReader(counted(ctx, f, "unpacking the ClickHouse engine", progress))
	if err != nil {
		return fmt.Errorf("unpack clickhouse engine: %w", err)
	}
	for tr := tar.NewReader(gz); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("unpack clickhouse engine: %s is not in the package", engineFile)
		}
		if err != nil {
			return fmt.Errorf("unpack clickhouse engine: %w", err)
		}
		if hdr.Name != "package/"+engineFile {
			continue
		}
		if hdr.Size > maxEngineSize {
			return fmt.Errorf("unpack clickhouse engine: %s has %d bytes, more than allowed", engineFile, hdr.Size)
		}
		if err := writeFile(tmp, io.LimitReader(tr, maxEngineSize)); err != nil {
			return fmt.Errorf("unpack clickhouse engine: %w (is the disk full? it needs 600 MB)", err)
		}
		if err := os.Rename(tmp, path); err != nil {
			return fmt.Errorf("unpack clickhouse engine: %w", err)
		}
		return nil
	}
}

func writeFile(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// counted reports the bytes read from a file and stops when ctx ends.
func counted(ctx context.Context, f *os.File, step string, progress func(Progress)) io.Reader {
	var total int64
	if st, err := f.Stat(); err == nil {
		total = st.Size()
	}
	return &counter{ctx: ctx, r: f, p: Progress{Step: step, Total: total}, tell: progress}
}

type counter struct {
	ctx  context.Context
	r    io.Reader
	p    Progress
	told int64
	tell func(Progress)
}

// Read counts; it reports at most a hundred times.
func (c *counter) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	c.p.Done += int64(n)
	if c.p.Done-c.told > c.p.Total/100 || err != nil {
		c.told = c.p.Done
		c.tell(c.p)
	}
	return n, err
}

// lastLines keeps an outside program's message short.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}
