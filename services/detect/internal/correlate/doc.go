// Package correlate turns rule matches into alerts. It is a deterministic state
// machine over the SIGNALS log: the same signals in the same order give the
// same alerts, whatever the wall clock does, so a checkpoint plus the log after
// it is as good as never having stopped.
//
// Time is event time. Every (rule, group) has a sliding window. When the window
// reaches the threshold, an alert is raised, the window's events are used up,
// and an episode begins: until the rule's suppress time has passed since the
// event that raised it, further matches amend the alert instead of raising
// another. Signals of an event that was seen already do not count again.
package correlate
