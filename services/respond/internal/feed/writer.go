package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
)

// Writer changes decisions. Safe for concurrent use within one process.
type Writer struct {
	Store kv.Store[decision.Decision]
	Now   func() time.Time
	// mu makes read-and-delete one step; the bucket cannot.
	mu sync.Mutex
}

// ErrNotFound says there is no such decision.
var ErrNotFound = errors.New("no such decision")

// Put sets a decision and returns what stands afterwards and a remark. A
// standing decision that lasts longer is left as it is.
func (w *Writer) Put(ctx context.Context, d decision.Decision) (decision.Decision, string, error) {
	v, ok := decision.Normal(d.Scope, d.Value)
	if !ok {
		return d, "", fmt.Errorf("decide: %s %q is not a value that can be decided about", d.Scope, d.Value)
	}
	d.Value = v
	d.ID = decision.ID(d.Kind, d.Scope, d.Value)
	now := w.Now()
	if d.CreatedAt.IsZero() {
		d.CreatedAt = now
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	remark := ""
	got, err := kv.Change(ctx, w.Store, d.ID, func(was decision.Decision, found bool) (decision.Decision, error) {
		remark = ""
		if !found || !was.Active(now) {
			return d, nil
		}
		if was.Run == d.Run && was.Step == d.Step && was.By == d.By && was.ExpiresAt.Equal(d.ExpiresAt) && was.Rate == d.Rate {
			remark = "was set already"
			return was, kv.ErrKeep
		}
		longer := was.ExpiresAt.IsZero() || !d.ExpiresAt.IsZero() && was.ExpiresAt.After(d.ExpiresAt)
		if longer && was.Rate == d.Rate {
			remark = "stands already, and longer"
			return was, kv.ErrKeep
		}
		remark = "extended"
		return d, nil
	})
	if err != nil {
		return d, "", fmt.Errorf("decide %s %s:%s: %w", d.Kind, d.Scope, d.Value, err)
	}
	return got, remark, nil
}

// Release removes a decision if run and step still hold it; a longer one of
// another run stays. The remark says what happened.
func (w *Writer) Release(ctx context.Context, id, run, step string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, err := w.Store.Get(ctx, id)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return "was gone already", nil
	case err != nil:
		return "", fmt.Errorf("release decision %s: %w", id, err)
	case e.Value.Run != run || e.Value.Step != step:
		return "stays: " + e.Value.By + " holds it now", nil
	}
	return "", w.Store.Delete(ctx, id)
}

// Delete removes a decision whoever holds it.
func (w *Writer) Delete(ctx context.Context, id string) (decision.Decision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, err := w.Store.Get(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		return e.Value, fmt.Errorf("decision %.64q: %w", id, ErrNotFound)
	}
	if err != nil {
		return e.Value, fmt.Errorf("delete decision: %w", err)
	}
	return e.Value, w.Store.Delete(ctx, id)
}

// Sweep deletes decisions that ended more than grace ago; nobody obeys them
// any more, this only frees the bucket.
func (w *Writer) Sweep(ctx context.Context, grace time.Duration) error {
	entries, err := w.Store.List(ctx)
	if err != nil {
		return fmt.Errorf("sweep decisions: %w", err)
	}
	before := w.Now().Add(-grace)
	for _, e := range entries {
		if e.Value.Active(before) {
			continue
		}
		w.mu.Lock()
		now, err := w.Store.Get(ctx, e.Key)
		if err == nil && now.Revision == e.Revision {
			err = w.Store.Delete(ctx, e.Key)
		}
		w.mu.Unlock()
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return fmt.Errorf("sweep decisions: %w", err)
		}
	}
	return nil
}

// Connector is the native connector "vagus": its operations set decisions.
type Connector struct{ Writer *Writer }

var _ connector.Native = (*Connector)(nil)

// Do sets or releases a decision.
func (c *Connector) Do(ctx context.Context, call connector.Call) (connector.Result, error) {
	text := func(k string) string { s, _ := call.Params[k].(string); return s }
	kind := decision.Kind(call.Operation)
	if call.Operation == "release" {
		kind = decision.Kind(text("kind"))
		if kind == "" {
			// As an undo it gets the parameters of what it undoes; the result
			// of that says which decision it was.
			id, _ := call.Prior["id"].(string)
			if id == "" {
				return connector.Result{}, errors.New("release: which decision is not known")
			}
			return c.release(ctx, id, call)
		}
	}
	scope := decision.Scope(text("scope"))
	switch scope {
	case decision.IP, decision.APIKey, decision.User, decision.Model, decision.Agent, decision.Tool:
	default:
		return connector.Result{}, fmt.Errorf("scope %q cannot be decided about", text("scope"))
	}
	value, ok := decision.Normal(scope, text("value"))
	if !ok {
		return connector.Result{}, fmt.Errorf("%s %q is not a value that can be decided about", scope, text("value"))
	}
	if call.Operation == "release" {
		return c.release(ctx, decision.ID(kind, scope, value), call)
	}
	d := decision.Decision{
		Kind: kind, Scope: scope, Value: value, Reason: text("reason"), Alert: call.Alert, Run: call.Run,
		Step: call.Step, By: call.Playbook, ExpiresAt: call.ExpiresAt,
	}
	if d.Reason == "" {
		d.Reason = call.Reason
	}
	if r, ok := call.Params["rate"].(float64); ok {
		d.Rate = int(r)
	}
	got, remark, err := c.Writer.Put(ctx, d)
	if err != nil {
		return connector.Result{}, retryable(err)
	}
	res := connector.Result{
		Data:   map[string]any{"id": got.ID, "expires_at": got.ExpiresAt},
		Detail: map[string]string{"decision": got.ID, "what": fmt.Sprintf("%s %s:%s", got.Kind, got.Scope, got.Value)},
	}
	if !got.ExpiresAt.IsZero() {
		res.Detail["until"] = got.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if remark != "" {
		res.Detail["remark"] = remark
	}
	return res, nil
}

func (c *Connector) release(ctx context.Context, id string, call connector.Call) (connector.Result, error) {
	remark, err := c.Writer.Release(ctx, id, call.Run, call.Step)
	if err != nil {
		return connector.Result{}, retryable(err)
	}
	return connector.Result{Data: map[string]any{"reason": remark}, Detail: map[string]string{"decision": id, "remark": remark}}, nil
}

func retryable(err error) error {
	return &connector.Error{Retry: errors.Is(err, bus.ErrBusy) || errors.Is(err, bus.ErrConflict) || errors.Is(err, context.DeadlineExceeded), Err: err}
}
