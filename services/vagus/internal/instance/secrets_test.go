package instance

import (
	"os"
	"sync"
	"testing"
)

func TestProcessesThatStartTogetherAgreeOnTheSecrets(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	got := make([]Secrets, 16)
	for i := range got {
		wg.Go(func() {
			s, err := LoadSecrets(dir)
			if err != nil {
				t.Error(err)
			}
			got[i] = s
		})
	}
	wg.Wait()
	for _, s := range got {
		if s != got[0] || s.NATS == "" {
			t.Fatalf("secrets differ")
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("left behind: %v %v", files, err)
	}
}
