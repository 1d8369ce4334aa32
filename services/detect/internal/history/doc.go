// Package history runs rules over the events that ClickHouse keeps. It reads
// them back as the blocks that live detection sees and gives them to the same
// matcher and correlator, so that a backtest answers what live detection would
// have answered.
//
// ClickHouse gets a condition that every match fulfils, derived from the rules
// (see Condition), and sends only the events that fulfil it and the columns
// that the rules read. What is exact is decided here.
package history
