package puller

import (
	"fmt"
	"os"
	"strings"
)

// Secret refers to a secret: env:NAME, file:PATH, or the secret itself. It
// never prints. A file is read anew when the secret is needed anew, so that it
// can be changed while the hub runs.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// Value follows the reference. The error names the reference.
func (s Secret) Value() (string, error) {
	v := string(s)
	switch {
	case v == "":
		return "", nil
	case strings.HasPrefix(v, "env:"):
		v = os.Getenv(v[len("env:"):])
	case strings.HasPrefix(v, "file:"):
		data, err := os.ReadFile(v[len("file:"):])
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		v = strings.TrimSpace(string(data))
	}
	if v == "" {
		return "", fmt.Errorf("secret %s is empty or not set", string(s))
	}
	return v, nil
}
