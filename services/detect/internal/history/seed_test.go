//go:build linux || darwin

package history

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/history/historytest"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// What is read of the past is bounded: too many matches are refused, and of too
// many groups those that were active last are told.
func TestLearnIsBounded(t *testing.T) {
	rules, problems := rule.LoadFiles([]rule.File{{Name: "test/new.yml", Data: []byte(`id: test.new
title: New
description: A new path.
level: low
status: test
source: {class: http_activity}
when: http_response.code == 200
correlate: {type: new_value, group_by: src_endpoint.ip, field: http_request.path, timespan: 10d, learning: 1d}
alert: {title: "{src_endpoint.ip}", entity: {type: ip, path: src_endpoint.ip}}
`)}})
	if rule.Failed(problems) {
		t.Fatal(problems)
	}
	db := historytest.Open(t)
	before := day.AddDate(0, 0, 20)
	b := block.NewBuilder(event.FamilyNetwork)
	for i := range 60 {
		ms := before.Add(-time.Duration(60-i) * 6 * time.Hour).UnixMilli()
		b.SetUUID(event.EventUID, block.UID("seed", uint32(i)))
		b.SetInt(event.Time, ms)
		b.SetInt(event.ReceivedAt, ms)
		b.SetInt(event.ClassUID, int64(event.ClassHTTPActivity))
		b.SetInt(event.HTTPResponseCode, 200)
		b.SetString(event.HTTPRequestPath, fmt.Sprintf("/%d", i%7))
		b.SetIP(event.SrcEndpointIP, netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 6)}))
		b.EndRow()
	}
	historytest.Insert(t, db, b.AppendTo(nil, block.Header{Source: "nginx.access"}))
	// Ten days and the lateness are looked at: 40 events.
	for name, tc := range map[string]struct {
		matches uint64
		size    int
		groups  int
		err     error
	}{
		"all":      {1000, 1 << 20, 6, nil},
		"matches":  {20, 1 << 20, 0, ErrTooMuch},
		"one left": {1000, 600, 5, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := learn(t.Context(), db, rules, rules, before, tc.matches, tc.size)
			if tc.err != nil {
				if !errors.Is(err, tc.err) {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			list := l.Groups["test.new"]
			var names []string
			for _, g := range list {
				names = append(names, g.Group)
			}
			if len(list) != tc.groups || l.Left["test.new"] != 6-tc.groups || !slices.IsSorted(names) {
				t.Errorf("%d groups, %d left, %v", len(list), l.Left["test.new"], names)
			}
			// The group of the oldest of the last events gives way.
			if slices.Contains(names, "192.0.2.0") != (tc.groups == 6) {
				t.Error(names)
			}
			if l.Matches != 40 || l.Events != 40 {
				t.Errorf("%d matches of %d events", l.Matches, l.Events)
			}
		})
	}
}
