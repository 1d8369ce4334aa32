package detect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/detect/internal/owner"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// partition is the correlation of one partition of SIGNALS while this instance
// owns it. Its log is the messages of the partition's subject and the ticks, in
// the order of the stream.
type partition struct {
	s       *Service
	number  int
	subject string
	seeds   string
	log     *slog.Logger
	claim   *bus.Claim
	out     *outbox
	// silent is the position up to which alerts are known already: the log is
	// read again because the state before it cannot be used.
	silent uint64
	toldAt uint64    // the position of which the state was told last, by saveLoop alone
	told   time.Time // and when

	mu       sync.Mutex // guards what follows
	corr     *correlate.Correlator
	position uint64
	end      uint64 // of the log when it was taken over
}

// checkpointName is where the state of a partition is kept.
func checkpointName(number int) string { return Checkpoint + "-" + strconv.Itoa(number) }

// correlate owns a partition until ctx ends, and then hands it over: what is
// published is durable and the state is saved.
func (s *Service) correlate(ctx context.Context, number int) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &partition{s: s, number: number, subject: subjects.Signals(number), seeds: subjects.SignalsSeed(number), log: s.log.With("partition", number), out: newOutbox(s)}
	defer p.out.close()
	if err := p.restore(ctx); err != nil {
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, bus.ErrConflict):
			p.log.Warn("another instance has taken this partition over before it began here", "error", err)
		default:
			p.log.Error("correlation cannot begin", "error", err)
		}
		return
	}
	defer s.forget(p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.saveLoop(ctx, cancel)
	}()
	err := p.follow(ctx)
	cancel(err)
	<-done
	if err != nil && !errors.Is(err, bus.ErrClosed) {
		p.log.Error("correlation ended", "error", err)
	}
	if errors.Is(context.Cause(ctx), owner.ErrLost) {
		return // the state is somebody else's now
	}
	// What was published last must be durable before the state may say so.
	final, stop := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
	defer stop()
	if _, err := p.save(final); err != nil {
		p.log.Warn("no checkpoint at the end; the next owner replays a little more", "error", err)
	}
}

// begin makes the partition's correlator with the rules of now, and lets it
// have the rules to come.
func (s *Service) begin(p *partition) {
	s.partsMu.Lock()
	defer s.partsMu.Unlock()
	p.corr = correlate.New(s.rules, s.log)
	p.corr.SetLimits(s.opts.Correlation)
	if s.opts.ClickHouse != nil {
		p.corr.AwaitSeeds()
	}
	s.parts[p.number] = p
}

func (s *Service) forget(p *partition) {
	s.partsMu.Lock()
	defer s.partsMu.Unlock()
	delete(s.parts, p.number)
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.corr.Stats()
	st.Groups, st.Bytes = 0, 0
	s.past = sum(s.past, st)
}

// restore claims the last checkpoint and loads it.
func (p *partition) restore(ctx context.Context) (err error) {
	for {
		p.claim, err = p.s.opts.Bus.ClaimCheckpoint(ctx, subjects.StreamSignals, checkpointName(p.number))
		if !bus.IsBusy(err) || ctx.Err() != nil {
			break
		}
		p.log.Warn("the checkpoint cannot be taken over yet, trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	if p.claim == nil || err != nil && !errors.Is(err, bus.ErrRefused) {
		return fmt.Errorf("restore correlation: %w", err)
	}
	first, last, berr := p.s.opts.Bus.Bounds(ctx, subjects.StreamSignals)
	if berr != nil {
		return fmt.Errorf("restore correlation: %w", berr)
	}
	seq, state := p.claim.Seq, p.claim.State
	p.claim.State = nil // may be large
	if seq == 0 {
		p.silent = p.s.before(ctx)
	}
	p.s.begin(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = last
	switch {
	case seq == 0:
		return nil
	case last < seq:
		p.log.Error("the SIGNALS stream is older than the checkpoint; correlation starts afresh", "checkpoint", seq, "stream", last)
		return nil
	case err == nil:
		err = p.corr.Load(state)
	}
	if err != nil {
		p.silent = seq
		p.log.Error("checkpoint cannot be used; the SIGNALS stream is read again to make up for it, without repeating alerts", "sequence", seq, "error", err)
		return nil
	}
	p.position = seq
	if first > seq+1 {
		gone := first - seq - 1
		p.s.counters.missed.Add(gone)
		p.log.Error("signals are gone before they were correlated", "at_most", gone, "from", seq+1,
			"hint", "give the SIGNALS stream more space or age")
	}
	p.log.Info("correlation restored", "sequence", seq, "bytes", len(state))
	return nil
}

// before is the sequence that correlation had reached when one process did it
// for all partitions; 0 if it never did.
func (s *Service) before(ctx context.Context) uint64 {
	seq, _, err := s.opts.Bus.LoadCheckpoint(ctx, Checkpoint)
	if err != nil {
		return 0
	}
	s.log.Info("correlation is by partition now; the SIGNALS stream is read again for it, without repeating alerts", "sequence", seq)
	return seq
}

// follow reads the partition's log from its position on.
func (p *partition) follow(ctx context.Context) error {
	p.mu.Lock()
	first := p.position + 1
	p.mu.Unlock()
	if !p.s.awaitMutes(ctx) {
		return nil
	}
	var reader finding.SignalReader
	var alerts []finding.Alert
	emit := func(a finding.Alert) { alerts = append(alerts, a) }
	for rec, err := range p.s.opts.Bus.Follow(ctx, subjects.StreamSignals, []string{p.subject, p.seeds, subjects.SignalsTick}, first) {
		if err != nil {
			return fmt.Errorf("follow signals: %w", err)
		}
		p.mu.Lock()
		var bad error
		switch rec.Subject {
		case subjects.SignalsTick:
			bad = p.tick(rec.Data, emit)
		case p.seeds:
			bad = p.corr.Plant(rec.Data, emit)
		default:
			bad = reader.Read(rec.Data, func(sig *finding.Signal) { p.corr.Add(sig, emit) })
		}
		p.position = rec.Seq
		if rec.Seq <= p.silent {
			alerts = alerts[:0]
		}
		chained := p.chained(alerts)
		// Numbered under the lock, so that a checkpoint waits for them.
		number := p.out.reserve(len(alerts) + len(chained))
		p.mu.Unlock()
		if bad != nil {
			p.s.counters.badSignals.Add(1)
			p.log.Error("entry of the log cannot be read", "sequence", rec.Seq, "error", bad)
		}
		for i := range alerts {
			p.out.send(number+uint64(i), &alerts[i])
		}
		for i := range chained {
			p.out.chain(number+uint64(len(alerts)+i), chained[i].uid, chained[i].m)
		}
		alerts = alerts[:0]
	}
	return nil
}

// chained is a message that an alert of the uid becomes.
type chained struct {
	uid string
	m   bus.Msg
}

// chained makes the alerts signals again for the rules that correlate them. They
// go to the partition of those rules' groups.
func (p *partition) chained(alerts []finding.Alert) (out []chained) {
	if len(alerts) == 0 {
		return nil
	}
	all := p.s.matcher.Load().feeds
	var w finding.SignalWriter
	for i := range alerts {
		a := &alerts[i]
		feeds := all.OfAlert(a.Rule)
		for k := range feeds {
			for _, sig := range correlate.OfAlert(&feeds[k], a) {
				id := fmt.Sprintf("c:%s:%d:%s:%d", a.UID, a.Revision, sig.Rule, sig.Step)
				if sig.Retracted {
					id += ":retracted"
				}
				w.Signal(&sig)
				out = append(out, chained{a.UID, bus.Msg{Subject: subjects.Signals(partitionOf(&sig)), Data: w.Take(), ID: id}})
			}
		}
	}
	return out
}

// tick lets the correlator know how far the sources are.
func (p *partition) tick(data []byte, emit func(finding.Alert)) error {
	var t tick
	if err := json.Unmarshal(data, &t); err != nil {
		return fmt.Errorf("read tick: %w", err)
	}
	list := make([]correlate.Tick, len(t.Sources))
	for i, s := range t.Sources {
		list[i] = correlate.Tick{Source: s.Source, Clock: s.Clock, At: t.At, Idle: s.Idle}
	}
	p.corr.Ticks(list, emit)
	return nil
}

// checkpointRate is what checkpoints of a partition may write, in bytes a second.
const checkpointRate = 8 << 20

// saveLoop saves checkpoints while there is something new. Big states are saved
// less often, so that correlation stands still for a twentieth of the time at
// most, and the disk is left to others.
func (p *partition) saveLoop(ctx context.Context, lose context.CancelCauseFunc) {
	wait := p.s.opts.CheckpointInterval
	saved := p.claim.Seq
	var behind time.Time // since when there is something to read and nothing is read
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		p.tellState(ctx)
		if p.at() == saved && p.advance(ctx) {
			if behind.IsZero() {
				behind = time.Now()
			}
			if time.Since(behind) > p.s.stalled {
				p.log.Error("correlation stands still though its log goes on; it begins again from the checkpoint", "position", saved)
				p.out.close()
				lose(errStalled)
				return
			}
		}
		if p.at() == saved {
			continue
		}
		saved, behind = p.at(), time.Time{}
		took, err := p.save(ctx)
		switch {
		case errors.Is(err, bus.ErrConflict):
			p.log.Warn("another instance has taken this partition over", "error", err)
			lose(owner.ErrLost)
			return
		case err != nil:
			if saved = 0; ctx.Err() == nil {
				p.log.Warn("checkpoint", "error", err)
			}
		}
		wait = max(p.s.opts.CheckpointInterval, took)
	}
}

// stallTime is how long a partition may read nothing although its log goes on,
// before it is begun again: whatever the cause, correlation must not be silent.
const stallTime = time.Minute

var errStalled = errors.New("correlation stands still")

func (p *partition) at() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.position
}

// advance moves the position of a partition that gets nothing along with the
// stream, so that it does not keep the stream from being trimmed. It reports
// whether there is something to read instead.
func (p *partition) advance(ctx context.Context) (behind bool) {
	pos := p.at()
	_, last, err := p.s.opts.Bus.Bounds(ctx, subjects.StreamSignals)
	if err != nil || last <= pos {
		return false
	}
	for _, subject := range []string{p.subject, p.seeds, subjects.SignalsTick} {
		rec, err := p.s.opts.Bus.Last(ctx, subjects.StreamSignals, subject)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return false
		}
		if err == nil && rec.Seq > pos {
			return true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.position == pos {
		p.position = last
	}
	return false
}

// save stores state and position once every alert up to the position is durable.
// It returns how long to do without another one.
func (p *partition) save(ctx context.Context) (pause time.Duration, err error) {
	p.mu.Lock()
	begin := time.Now() // correlation waits from now on
	seq := p.position
	last := p.out.reserved()
	if seq <= p.silent {
		// Until it is as far again, the checkpoint in place says more.
		p.mu.Unlock()
		return 0, nil
	}
	state, err := p.corr.Save(nil)
	p.mu.Unlock()
	if err != nil {
		return 0, err
	}
	pause = max(20*time.Since(begin), time.Duration(len(state))*time.Second/checkpointRate)
	durable, stop := context.WithTimeout(ctx, p.s.stalled)
	err = p.out.wait(durable, last)
	stop()
	if err != nil {
		return pause, err
	}
	// A checkpoint that was begun is finished, so that shutdown does not leave
	// half of one to be cleaned up. A large one takes longer.
	limit := 10*time.Second + time.Duration(len(state))*time.Second/(4<<20)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := p.claim.Save(ctx, seq, state); err != nil {
		return pause, err
	}
	p.s.counters.checkpoints.Add(1)
	if p.claim.Seq == 0 && p.silent > 0 {
		p.s.dropBefore(ctx)
	}
	return pause, nil
}

// dropBefore removes the checkpoint for all partitions once each has its own.
func (s *Service) dropBefore(ctx context.Context) {
	lags, err := s.opts.Bus.Lag(ctx)
	if err != nil {
		return // the next checkpoint tries again
	}
	own := 0
	for _, l := range lags {
		for i := range subjects.SignalPartitions {
			if l.Stream == subjects.StreamSignals && l.Durable == checkpointName(i) && l.AckFloor > 0 {
				own++
			}
		}
	}
	if own < subjects.SignalPartitions {
		return
	}
	if err := s.opts.Bus.DropCheckpoint(ctx, subjects.StreamSignals, Checkpoint); err != nil {
		s.log.Warn("the checkpoint for all partitions stays", "error", err)
	}
}

// sum adds the counters of two correlators.
func sum(a, b correlate.Stats) correlate.Stats {
	return correlate.Stats{
		Signals: a.Signals + b.Signals, Alerts: a.Alerts + b.Alerts, Amended: a.Amended + b.Amended, Retracted: a.Retracted + b.Retracted, Duplicates: a.Duplicates + b.Duplicates,
		Unknown: a.Unknown + b.Unknown, Ungrouped: a.Ungrouped + b.Ungrouped, Evicted: a.Evicted + b.Evicted, Groups: a.Groups + b.Groups,
		Seeded: a.Seeded + b.Seeded, Late: a.Late + b.Late, Cut: a.Cut + b.Cut, Bytes: a.Bytes + b.Bytes,
	}
}
