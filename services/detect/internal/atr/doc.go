// Package atr reads Agent Threat Rules (ATR), the open format of rules about
// AI agents (https://github.com/Agent-Threat-Rule/agent-threat-rules, spec
// version 1; the project's rules are under the MIT licence), and makes the
// hub's rules of them.
//
// A rule of ATR looks at fields of an agent's exchange: what the user wrote,
// what the model answered, which tool was called with what and what it
// returned. Each has a column of the event schema. What RE2 cannot express, and
// what is measured over a session, is not supported and named as such.
package atr
