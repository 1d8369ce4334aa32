package mute

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func alert(rule, entity string, change ...func(*finding.Alert)) finding.Alert {
	a := finding.Alert{
		UID: finding.UID(rule, entity), Status: finding.Raised, Revision: 1, Rule: rule, Level: finding.High, Lane: finding.Alerts,
		Entity: finding.Entity{Type: "ip", Value: entity}, Tags: []string{"attack.t1110", "atlas.aml.t0051"}, Sources: []string{"nginx.access"},
		Group:  []finding.Pair{{Path: "src_endpoint.ip", Value: entity}},
		Fields: map[string]string{"http_request.path": "/v1/models"}, FirstSeen: begin, LastSeen: begin, Until: begin.Add(10 * time.Minute),
	}
	for _, f := range change {
		f(&a)
	}
	return a
}

func TestMatchers(t *testing.T) {
	a := alert("ai-gateway.brute-force", "192.0.2.7", func(a *finding.Alert) {
		a.Entities = []finding.Involved{{Role: finding.Target, Entity: finding.Entity{Type: "host", Value: "gpu-1"}}}
	})
	for text, want := range map[string]bool{
		`rule="ai-gateway.brute-force"`:        true,
		`ai-gateway.brute-force`:               true,
		`rule=~"ai-gateway\\..*"`:              true,
		`rule=~"gateway"`:                      false, // anchored
		`rule!="x", level=high`:                true,
		`{level=~"high|critical",lane=alert}`:  true,
		`level!~"high|critical"`:               false,
		`tag="attack.t1110"`:                   true,
		`tag!="attack.t1110"`:                  false,
		`tag!="attack.t9999"`:                  true,
		`tag=~"atlas.*"`:                       true,
		`entity="ip:192.0.2.7"`:                true,
		`entity.value=192.0.2.8`:               false,
		`entities="host:gpu-1"`:                true,
		`src_endpoint.ip="192.0.2.7"`:          true,
		`http_request.path=~"/v1/.*"`:          true,
		`actor.user.name=""`:                   true,
		`actor.user.name!=""`:                  false,
		`source = nginx.access , lane = alert`: true,
	} {
		t.Run(text, func(t *testing.T) {
			list, err := ParseMatchers(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := all(list, &a); got != want {
				t.Errorf("got %v", got)
			}
			for _, m := range list {
				data, err := json.Marshal(m)
				var back Matcher
				if err == nil {
					err = json.Unmarshal(data, &back)
				}
				if err != nil || back.String() != m.String() {
					t.Errorf("%s became %s: %v", m, back, err)
				}
			}
		})
	}
}

func TestBadMatchers(t *testing.T) {
	for text, want := range map[string]string{
		``:                       "empty",
		`{rule="x"`:              "brace",
		`rulee="x"`:              "did you mean rule?",
		`rule=~"("`:              "missing closing ): `(`",
		`level=hgh`:              "no alert has the level hgh: did you mean high? (one of informational, ",
		`lane!=alerts`:           "no alert has the lane alerts: did you mean alert?",
		`rule="x" level=high`:    "comma is missing",
		`rule="x`:                "quotes are not closed",
		`rule>x`:                 "unknown",
		`=x`:                     `want name="value"`,
		`rule=a"b`:               "double quotes",
		"rule=\xff":              "UTF-8",
		strings.Repeat("a,", 40): "more than 32",
		`rule="` + strings.Repeat("x", 2000) + `"`: "at most 1024",
	} {
		t.Run(text, func(t *testing.T) {
			list, err := ParseMatchers(text)
			if text == `rule>x` { // a rule of that name: no operator in it
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, %v, want …%s…", list, err, want)
			}
		})
	}
}

func silence(id, matchers string, from, to time.Duration) Silence {
	list, err := ParseMatchers(matchers)
	if err != nil {
		panic(err)
	}
	return Silence{ID: id, Matchers: list, StartsAt: begin.Add(from), EndsAt: begin.Add(to), CreatedBy: "ann", Comment: "a planned test"}
}

func TestSilenceCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Silence)
		want   string
	}{
		"good":       {func(*Silence) {}, ""},
		"nobody":     {func(s *Silence) { s.CreatedBy = " " }, "no creator"},
		"no comment": {func(s *Silence) { s.Comment = "" }, "no comment"},
		"backwards":  {func(s *Silence) { s.EndsAt = s.StartsAt }, "ends before it starts"},
		"over":       {func(s *Silence) { s.StartsAt, s.EndsAt = begin.Add(-2*time.Hour), begin.Add(-time.Hour) }, "over already"},
		"no matcher": {func(s *Silence) { s.Matchers = nil }, "no matchers"},
		"all": {func(s *Silence) {
			s.Matchers, _ = ParseMatchers(`rule=~".*", level!="low"`)
		}, "would mute every alert"},
	} {
		t.Run(name, func(t *testing.T) {
			s := silence("a", "rule=x", 0, time.Hour)
			tc.change(&s)
			err := s.Check(begin)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want …%s…", err, tc.want)
			}
		})
	}
}

// clocked is a Mute whose clock the test moves.
func clocked(inhibitions ...Inhibition) (*Mute, *time.Time) {
	now := begin
	m := New(inhibitions, slog.New(slog.DiscardHandler))
	m.now = func() time.Time { return now }
	return m, &now
}

// publish is what happens to an alert: applied, then seen in the stream.
func publish(m *Mute, a finding.Alert) finding.Alert {
	m.Apply(&a)
	m.Observe(&a)
	return a
}

func TestSilenceMutesAndEnds(t *testing.T) {
	m, now := clocked()
	m.SetSilence(silence("s1", `src_endpoint.ip="192.0.2.1"`, -time.Minute, 5*time.Minute))
	a := publish(m, alert("r.a", "192.0.2.1"))
	want := &finding.Muted{By: "silence", ID: "s1", Reason: "a planned test (ann, until 2026-03-01T12:05:00Z)"}
	if diff := cmp.Diff(want, a.Muted); diff != "" {
		t.Fatal(diff)
	}
	if b := publish(m, alert("r.a", "192.0.2.2")); b.Muted != nil {
		t.Errorf("another address is muted: %+v", b.Muted)
	}
	if due := m.Due(); len(due) != 0 {
		t.Errorf("told while the silence lasts: %+v", due)
	}
	*now = begin.Add(5 * time.Minute)
	due := m.Due()
	if len(due) != 1 || due[0].UID != a.UID || due[0].Status != finding.Amended || due[0].Revision != 1 || !due[0].Told() || !due[0].Muted.Ended.Equal(*now) {
		t.Fatalf("%+v", due)
	}
	m.Observe(&due[0])
	if due := m.Due(); len(due) != 0 {
		t.Errorf("told twice: %+v", due)
	}
	a.Revision, a.Muted = 2, nil
	if a = publish(m, a); a.Muted != nil {
		t.Errorf("told already, and yet %+v", a.Muted)
	}
}

func TestAmendedAfterTheEnd(t *testing.T) {
	m, now := clocked()
	m.SetSilence(silence("s1", "rule=r.a", -time.Minute, 5*time.Minute))
	a := publish(m, alert("r.a", "192.0.2.1"))
	m.DeleteSilence("s1")
	// A repeat of what was published says the same, whatever holds now.
	if b := publish(m, alert("r.a", "192.0.2.1")); b.Muted == nil || !b.Muted.Ended.IsZero() {
		t.Errorf("the repeat: %+v", b.Muted)
	}
	a.Revision, a.Status = 2, finding.Amended
	if a = publish(m, a); !a.Unmuted() {
		t.Errorf("the next revision does not say that it was muted: %+v", a.Muted)
	}
	if due := m.Due(); len(due) != 0 {
		t.Errorf("told twice: %+v", due)
	}
	*now = begin.Add(time.Hour)
}

func TestOverWhileMuted(t *testing.T) {
	m, now := clocked()
	m.SetSilence(silence("s1", "rule=r.a", -time.Minute, 5*time.Minute))
	publish(m, alert("r.a", "192.0.2.1", func(a *finding.Alert) { a.Until = begin.Add(2 * time.Minute) }))
	retracted := publish(m, alert("r.a", "192.0.2.2"))
	retracted.Status, retracted.Revision = finding.Retracted, 2
	publish(m, retracted)
	*now = begin.Add(6 * time.Minute)
	if due := m.Due(); len(due) != 0 || m.Stats().Muted != 0 {
		t.Errorf("%+v", due)
	}
}

func inhibition(t *testing.T, source, target string, equal ...string) Inhibition {
	t.Helper()
	in := Inhibition{Name: "host-down", Equal: equal}
	var err error
	if in.Source, err = ParseMatchers(source); err == nil {
		in.Target, err = ParseMatchers(target)
	}
	if err == nil {
		err = in.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestInhibition(t *testing.T) {
	m, now := clocked(inhibition(t, "rule=r.big", "level=~\"low|medium|high\"", "src_endpoint.ip"))
	small := alert("r.small", "192.0.2.1")
	if a := publish(m, small); a.Muted != nil {
		t.Errorf("muted before there is a source: %+v", a.Muted)
	}
	big := publish(m, alert("r.big", "192.0.2.1", func(a *finding.Alert) { a.Title = "Host taken over"; a.Until = begin.Add(3 * time.Minute) }))
	if big.Muted != nil {
		t.Errorf("inhibits itself: %+v", big.Muted)
	}
	small.UID = "another"
	got := publish(m, small)
	want := &finding.Muted{By: "inhibition", ID: "host-down", Reason: "while alert " + big.UID + " fires: r.big: Host taken over"}
	if diff := cmp.Diff(want, got.Muted); diff != "" {
		t.Error(diff)
	}
	if a := publish(m, alert("r.small", "192.0.2.2")); a.Muted != nil {
		t.Errorf("another address: %+v", a.Muted)
	}
	if a := publish(m, alert("r.small", "192.0.2.1", func(a *finding.Alert) {
		a.UID, a.FirstSeen, a.LastSeen, a.Until = "later", begin.Add(4*time.Minute), begin.Add(4*time.Minute), begin.Add(9*time.Minute)
	})); a.Muted != nil {
		t.Errorf("the source was over by then: %+v", a.Muted)
	}
	*now = begin.Add(3 * time.Minute)
	if due := m.Due(); len(due) != 1 || due[0].UID != "another" {
		t.Errorf("%+v", due)
	}
}

func TestRetractedSourceInhibitsNoMore(t *testing.T) {
	m, _ := clocked(inhibition(t, "rule=r.big", "rule=r.small"))
	big := publish(m, alert("r.big", "192.0.2.1"))
	publish(m, alert("r.small", "192.0.2.2"))
	big.Status, big.Revision = finding.Retracted, 2
	publish(m, big)
	if due := m.Due(); len(due) != 1 {
		t.Errorf("%+v", due)
	}
}

// Two alerts that match both sides do not inhibit each other.
func TestBothSides(t *testing.T) {
	m, _ := clocked(inhibition(t, "level=high", "level=high"))
	publish(m, alert("r.a", "192.0.2.1"))
	if a := publish(m, alert("r.b", "192.0.2.1")); a.Muted != nil {
		t.Errorf("%+v", a.Muted)
	}
}

func TestBound(t *testing.T) {
	m, _ := clocked()
	m.SetSilence(silence("s1", "rule=r.a", -time.Minute, time.Hour))
	for i := range maxFiring + 1 {
		publish(m, alert("r.a", "192.0.2.1", func(a *finding.Alert) { a.UID = finding.UID("x", string(rune(i))) }))
	}
	if st := m.Stats(); st.Muted > maxFiring || st.Forgotten == 0 || st.Silences != 1 {
		t.Errorf("%+v", st)
	}
}

func FuzzMatchers(f *testing.F) {
	for _, s := range []string{`rule="x"`, `{a=~"b",tag!="c"}`, `x`, `level !~ "a|b" , lane=alert`, `rule="\x41\""`} {
		f.Add(s)
	}
	a := alert("r.a", "192.0.2.1")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseMatchers(s)
		if err != nil {
			return
		}
		var texts []string
		for _, m := range list {
			texts = append(texts, m.String())
		}
		back, err := ParseMatchers(strings.Join(texts, ","))
		if err != nil || len(back) != len(list) {
			t.Fatalf("%q became %q: %v", s, texts, err)
		}
		if all(list, &a) != all(back, &a) {
			t.Fatalf("%q and %q differ", s, texts)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	m, _ := clocked()
	for i := range 100 {
		m.SetSilence(silence(string(rune('a'+i)), `rule=~"x.*",level=high`, 0, time.Hour))
	}
	a := alert("r.a", "192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		m.Apply(&a)
	}
}
