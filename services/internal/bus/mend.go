package bus

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/highwayhash"
)

// Files of a stream's folder.
const (
	streamMeta    = "meta.inf" // its configuration, replaced as a whole
	streamMetaSum = "meta.sum" // the checksum of that
	streamMetaKey = "meta.key" // only if it is encrypted
)

// mendChecksums makes the checksums of the streams' configurations right. The
// server writes the two files of a stream one after the other, each at once as
// a whole: killed in between, or out of disk space, it has a new configuration
// with the old checksum. From then on it would leave the stream out at every
// start. It would be made anew, over its messages but as another stream,
// without the places of its readers: everything would be read again.
//
// A configuration that is not the one of its stream stays as it is.
func mendChecksums(storeDir string, log *slog.Logger) error {
	root := filepath.Join(storeDir, "jetstream")
	accounts, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for streams: %w", err)
	}
	for _, a := range accounts {
		streams, err := os.ReadDir(filepath.Join(root, a.Name(), "streams"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for streams: %w", err)
		}
		for _, s := range streams {
			if strings.HasPrefix(s.Name(), ".") { // half deleted
				continue
			}
			mended, err := mendChecksum(filepath.Join(root, a.Name(), "streams", s.Name()), s.Name())
			if err != nil {
				return fmt.Errorf("mend stream %s: %w", s.Name(), err)
			}
			if mended {
				log.Warn("a stream's configuration was written and its checksum was not; mended", "stream", s.Name())
			}
		}
	}
	return nil
}

// mendChecksum does so for one stream.
func mendChecksum(dir, name string) (mended bool, err error) {
	if _, err := os.Stat(filepath.Join(dir, streamMetaKey)); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	meta, err := os.ReadFile(filepath.Join(dir, streamMeta))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var config struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(meta, &config) != nil || config.Name != name {
		return false, nil
	}
	sum, err := metaSum(meta, name)
	if err != nil {
		return false, err
	}
	file := filepath.Join(dir, streamMetaSum)
	was, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || string(was) == sum {
		return false, err
	}
	return true, overwrite(file, []byte(sum))
}

// metaSum is the checksum that the server wants.
func metaSum(meta []byte, name string) (string, error) {
	key := sha256.Sum256([]byte(name))
	h, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return "", err
	}
	_, _ = h.Write(meta) // never fails
	return hex.EncodeToString(h.Sum(nil)), nil
}

// overwrite gives a short file new content without needing more space for it.
// Ended halfway, it is mended at the next start.
func overwrite(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Truncate(int64(len(data))), f.Sync(), f.Close())
}
