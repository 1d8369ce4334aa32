//go:build !unix

package bus

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir only marks dir on systems without flock.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// freeBytes is unknown here; the caller then uses a fixed budget.
func freeBytes(string) (int64, error) { return 64 << 30, nil }
