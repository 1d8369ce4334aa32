package ledger

import (
	"context"
	"fmt"
)

// account is a source with the sums that its balance is made of.
type account struct {
	Source
	raw, taken             uint64 // records in RAW; of them accounted for by normalize
	ingestDead, normalDead uint64
	storeDead, deadStored  uint64
}

// close balances the stages. Each balance must be zero on its own, so that two
// faults do not hide each other.
func (a *account) close() Source {
	s := a.Source
	var dropped uint64
	for _, n := range s.Dropped {
		dropped += n
	}
	s.Received = a.raw - s.Replayed + a.ingestDead
	s.Dead = a.ingestDead + a.normalDead + a.storeDead
	for _, d := range []int64{
		int64(a.raw) - int64(a.taken) - int64(s.InFlight),
		int64(a.taken) + int64(s.Extra) - int64(s.Normalized) - int64(a.normalDead) - int64(dropped),
		int64(s.Normalized) - int64(s.Stored) - int64(a.storeDead),
		int64(s.Dead) - int64(a.deadStored),
	} {
		if s.Difference += d; s.Difference == 0 {
			s.Difference = d
		}
	}
	return s
}

func sums(ctx context.Context, db Querier, since int64, detected uint64, get func(string) *account) error {
	rows, err := db.Query(ctx, fmt.Sprintf(
		"SELECT toString(source), toString(stage), sum(`in`), sum(extra), sum(`out`), sum(dead), sumMap(dropped), sumIf(`out`, seq <= %d) FROM %s WHERE at >= fromUnixTimestamp64Milli(%d) GROUP BY source, stage",
		detected, Table, since))
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var source, stage string
		var in, extra, out, dead, upTo uint64
		var dropped map[string]uint64
		if err := rows.Scan(&source, &stage, &in, &extra, &out, &dead, &dropped, &upTo); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		a := get(source)
		switch stage {
		case Ingest:
			a.raw += out
			a.ingestDead += dead
		case Replay:
			a.raw += out
			a.Replayed += out
		case Normalize:
			a.taken += in
			a.Extra += extra
			a.Normalized += out
			a.normalDead += dead
			a.Dropped = dropped
		case Store:
			a.Stored += out
			a.storeDead += dead
			a.Evaluated += upTo
		case Dead:
			a.deadStored += dead
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// inFlight finds RAW messages that normalize has not accounted for. Behind its
// position they are lost, unless somebody still has messages to read.
func inFlight(ctx context.Context, db Querier, since int64, normalized uint64, behind bool, get func(string) *account) error {
	if behind {
		normalized = 0
	}
	rows, err := db.Query(ctx, fmt.Sprintf(
		"SELECT toString(source), sumIf(`out`, seq > %d) FROM %s WHERE stage IN ('%s', '%s') AND `out` > 0 AND at >= fromUnixTimestamp64Milli(%d)"+
			" AND seq NOT IN (SELECT raw_seq FROM %s WHERE stage = '%s' AND `in` > 0 AND at >= fromUnixTimestamp64Milli(%d)) GROUP BY source",
		normalized, Table, Ingest, Replay, since, Table, Normalize, since))
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var source string
		var n uint64
		if err := rows.Scan(&source, &n); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		get(source).InFlight = n
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

func count(ctx context.Context, db Querier, get func(string) *account) error {
	rows, err := db.Query(ctx, "SELECT toString(source), count(), uniqExact(event_uid) FROM events GROUP BY source")
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var source string
		var n, distinct uint64
		if err := rows.Scan(&source, &n, &distinct); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		a := get(source)
		a.Rows, a.Distinct = n, distinct
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}
