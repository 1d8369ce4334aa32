// Package correlate turns rule matches into alerts. It is a deterministic state
// machine over the SIGNALS log: the same entries in the same order give the
// same alerts, whatever the wall clock does, so a checkpoint plus the log after
// it is as good as never having stopped. And what stands in the end does not
// depend on the order either: as long as no event is later than the allowed
// lateness, the final alerts are a function of the set of events.
//
// Each (rule, group) keeps its newest events, sorted by event time. An
// automaton (machine) walks them and says when the rule fires. An event that
// comes in order moves the automaton on by one step; one that comes late is put
// in its place and the automaton walks again over what it may change. What it
// says then is compared with what was published: the difference is raised,
// amended or retracted (settle). An alert's uid
// follows from rule, group and the suppress interval in which it fires, so that
// it stays the same when late events move the moment a little.
//
// Event time moves with ticks. The watermark of a rule is the least clock of
// the sources that feed it, without the idle ones, minus the allowed lateness;
// no event before it is expected any more. It ends windows, lets absences be
// seen and closes alerts. Events are kept for another lateness, so that what
// comes too late for the watermark still corrects what was said.
//
// Groups live without pointers in slabs and arenas: a million of them cost the
// garbage collector nothing. Only groups that have fired, or whose type needs
// it, have more (heavy).
package correlate
