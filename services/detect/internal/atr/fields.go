package atr

import (
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
)

// columns says where the hub has a field of ATR. Names that mean the same in
// agents of different kinds are beside one another.
var columns = map[string][]event.ColumnID{
	"user_input": {event.MessageContextPromptText}, "user_message": {event.MessageContextPromptText}, "prompt": {event.MessageContextPromptText},
	"agent_output": {event.MessageContextResponseText}, "llm_output": {event.MessageContextResponseText}, "response": {event.MessageContextResponseText},
	"system_prompt": {event.AISystemText},
	"tool_response": {event.ToolResult}, "tool_output": {event.ToolResult}, "mcp_response": {event.ToolResult},
	// What a server says of its tools is the result of the method tools/list.
	"tool_description": {event.ToolResult}, "tool_schema": {event.ToolResult},
	"tool_args": {event.ToolArguments}, "tool_arguments": {event.ToolArguments}, "tool_input": {event.ToolArguments},
	"tool_name":     {event.ToolName},
	"mcp_server":    {event.MCPServer},
	"mcp_method":    {event.MCPMethod},
	"model":         {event.AIModelName},
	"agent_id":      {event.AIAgentUID},
	"agent_name":    {event.AIAgentName},
	"agent_message": {event.MessageContextPromptText, event.MessageContextResponseText, event.ToolArguments, event.ToolResult},
}

// content is what the field "content" stands for: the main text of whatever is
// exchanged, by agent_source.
var content = map[string][]event.ColumnID{
	"llm_io":           {event.MessageContextPromptText, event.MessageContextResponseText},
	"tool_call":        {event.ToolArguments, event.MessageContextPromptText},
	"mcp_exchange":     {event.ToolResult, event.ToolArguments},
	"multi_agent_comm": {event.MessageContextPromptText, event.MessageContextResponseText, event.ToolArguments, event.ToolResult},
	"context_window":   {event.MessageContextPromptText, event.AISystemText, event.ToolResult},
	"memory_access":    {event.MessageContextPromptText, event.ToolArguments, event.ToolResult},
	"skill_lifecycle":  {event.ToolResult, event.AISystemText, event.MessageContextPromptText},
	"skill_permission": {event.ToolResult, event.AISystemText, event.MessageContextPromptText},
	"skill_chain":      {event.ToolResult, event.AISystemText, event.MessageContextPromptText},
	"agent_behavior":   {event.MessageContextResponseText, event.ToolArguments},
}

// wholeContent is the content of a source that is none of these.
var wholeContent = []event.ColumnID{event.MessageContextPromptText, event.MessageContextResponseText, event.ToolArguments, event.ToolResult}

// primary is the field that a bare text stands for, by agent_source: an
// exchange with a tool is about what came back, all else about what was asked.
var primary = map[string]string{"mcp_exchange": "tool_response"}

func columnsOf(source, field string) []event.ColumnID {
	if field == "content" {
		if c := content[source]; c != nil {
			return c
		}
		return wholeContent
	}
	return columns[field]
}

func fieldNames() []string {
	out := []string{"content"}
	for name := range columns {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
