//go:build linux || darwin

package embedded

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tarball makes a package with the given files; it returns its hash too.
func tarball(t *testing.T, files map[string]string) (path, integrity string) {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for name, text := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "x.tgz")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(b.Bytes())
	return path, "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

func TestVerifyAndUnpack(t *testing.T) {
	quiet := func(Progress) {}
	path, integrity := tarball(t, map[string]string{"package/readme": "x", "package/" + engineFile: "the library"})
	if err := verify(t.Context(), path, integrity, quiet); err != nil {
		t.Error(err)
	}
	if err := verify(t.Context(), path, "sha512-AAAA", quiet); err == nil || !strings.Contains(err.Error(), "pinned") {
		t.Errorf("a wrong hash: %v", err)
	}
	dir := t.TempDir()
	want := filepath.Join(dir, engineFile)
	var steps int
	if err := unpack(t.Context(), path, filepath.Join(dir, "tmp"), want, func(p Progress) { steps++ }); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(want); err != nil || string(b) != "the library" || steps == 0 {
		t.Errorf("unpacked %q, %v, progress told %d times", b, err, steps)
	}
	other, _ := tarball(t, map[string]string{"package/../../evil": "x"})
	if err := unpack(t.Context(), other, filepath.Join(dir, "tmp"), filepath.Join(dir, "y"), quiet); err == nil {
		t.Error("a package without the library was taken")
	}
	if b, err := os.ReadFile(path); err != nil || os.WriteFile(path, b[:len(b)-9], 0o600) != nil {
		t.Fatal(err)
	}
	if err := unpack(t.Context(), path, filepath.Join(dir, "tmp"), filepath.Join(dir, "z"), quiet); err == nil {
		if _, err := os.Stat(filepath.Join(dir, "z")); err == nil {
			t.Log("the library came before the cut")
		}
	}
}

// fakeNPM puts an npm into the PATH that runs a script.
func fakeNPM(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestFetchFailures(t *testing.T) {
	path, _ := tarball(t, map[string]string{"package/" + engineFile: "not the pinned one"})
	for name, c := range map[string]struct{ script, want string }{
		"no npm":      {"", "--clickhouse DSN"},
		"npm fails":   {"echo E404 not found >&2; exit 1", "E404"},
		"npm lies":    {"exit 0", "0 tarballs"},
		"wrong bytes": {"/bin/cp " + path + " ./engine.tgz", "hash"},
	} {
		t.Run(name, func(t *testing.T) {
			fakeNPM(t, c.script)
			cache := t.TempDir()
			// What a killed fetch leaves behind must not be taken for whole.
			left := filepath.Join(cache, EngineVersion, "fetch.tmp")
			if err := os.MkdirAll(left, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(left, engineFile), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Fetch(t.Context(), FetchOptions{CacheDir: cache})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want an error with %q, got %v", c.want, err)
			}
			if _, ok := Cached(cache); ok {
				t.Error("the cache takes itself for whole")
			}
		})
	}
}

func TestPackages(t *testing.T) {
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/arm64", "darwin/amd64"} {
		goos, goarch, _ := strings.Cut(platform, "/")
		if _, err := packageFor(goos, goarch); err != nil {
			t.Errorf("%s: %v", platform, err)
		}
	}
	if _, err := packageFor("plan9", "amd64"); err == nil || !strings.Contains(err.Error(), "--clickhouse") {
		t.Errorf("an unknown platform: %v", err)
	}
}

func TestCacheFolder(t *testing.T) {
	t.Setenv("VAGUS_CACHE", "/somewhere")
	if dir, err := DefaultCacheDir(); err != nil || dir != "/somewhere/clickhouse" {
		t.Errorf("%s, %v", dir, err)
	}
}
