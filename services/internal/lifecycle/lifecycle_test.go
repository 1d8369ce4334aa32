package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func idle(ctx context.Context) error { <-ctx.Done(); return nil }

func TestFirstErrorStopsAll(t *testing.T) {
	g := New(t.Context(), Options{})
	boom := errors.New("boom")
	g.Go("idle", idle)
	g.Go("failing", func(context.Context) error { return boom })
	err := g.Wait()
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "service failing") {
		t.Errorf("got %v", err)
	}
}

func TestPanicIsAnError(t *testing.T) {
	g := New(t.Context(), Options{})
	g.Go("wild", func(context.Context) error { panic("x") })
	if err := g.Wait(); err == nil || !strings.Contains(err.Error(), "panic: x") {
		t.Errorf("got %v", err)
	}
}

func TestEarlyReturnIsAnError(t *testing.T) {
	g := New(t.Context(), Options{})
	g.Go("short", func(context.Context) error { return nil })
	if err := g.Wait(); err == nil || !strings.Contains(err.Error(), "service short") {
		t.Errorf("got %v", err)
	}
}

func TestCleanupsRunLastFirstAfterServices(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := New(ctx, Options{})
	var order []string
	for _, name := range []string{"a", "b"} {
		g.Cleanup(name, func(context.Context) error { order = append(order, name); return nil })
	}
	g.Go("idle", func(ctx context.Context) error { <-ctx.Done(); order = append(order, "service"); return nil })
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"service", "b", "a"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}

func TestTimeLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(t.Context(), Options{StopTimeout: time.Second, CleanupTimeout: time.Second})
		release := make(chan struct{})
		g.Go("deaf", func(context.Context) error { <-release; return nil })
		g.Cleanup("stuck", func(context.Context) error { <-release; return nil })
		ran := false
		g.Cleanup("fine", func(context.Context) error { ran = true; return nil })
		err := g.Close()
		for _, want := range []string{"[deaf]", "cleanup stuck"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want it to name %s", err, want)
			}
		}
		if !ran {
			t.Error("a stuck step kept the others from running")
		}
		close(release)
	})
}

func TestSignals(t *testing.T) {
	ctx, cancel := Signals(t.Context())
	defer cancel()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the signal did not arrive")
	}
}
