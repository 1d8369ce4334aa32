// Package mute decides which alerts nobody is to be told of. Its terms are those
// of Prometheus' Alertmanager: a silence mutes the alerts that all its matchers
// match from its start to its end; an inhibition mutes alerts while another one
// fires. A muted alert is stored all the same, with what muted it, and is told
// when that is over and it still fires.
//
// An alert fires until its Until, which is event time. A silence goes by the
// clock at the moment of publication; an inhibition by event time: both alerts
// must fire at the same time. Every instance follows the stream ALERTS, so that
// an alert of one instance inhibits those of another.
package mute
