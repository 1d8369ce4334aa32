package wazuh

import (
	"regexp"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
)

// fields says where the hub has what Wazuh's decoders find. Several columns:
// any of them.
var fields = map[string][]string{
	"srcip": {"src_endpoint.ip"}, "dstip": {"dst_endpoint.ip"}, "srcport": {"src_endpoint.port"}, "dstport": {"dst_endpoint.port"},
	"srcuser": {"actor.user.name"}, "dstuser": {"user.name"}, "user": {"user.name", "actor.user.name"},
	"hostname": {"device.hostname"}, "program_name": {"actor.app_name"}, "url": {"http_request.path"}, "protocol": {"connection_info.protocol_name"},

	"win.system.eventID": {"metadata.event_code"}, "win.system.providerName": {"actor.app_name"}, "win.system.channel": {"metadata.log_name"},
	"win.system.message": {"message"}, "win.system.computer": {"device.hostname"},
	"win.eventdata.image": {"process.path", "actor.process.path"}, "win.eventdata.commandLine": {"process.cmd_line"},
	"win.eventdata.parentImage": {"process.parent_process.path"}, "win.eventdata.parentCommandLine": {"process.parent_process.cmd_line"},
	"win.eventdata.originalFileName": {"process.original_file_name"}, "win.eventdata.targetFilename": {"file.path"},
	"win.eventdata.imageLoaded": {"file.path"}, "win.eventdata.pipeName": {"file.path"},
	"win.eventdata.targetObject": {"reg_key.path"}, "win.eventdata.details": {"reg_value.data"},
	"win.eventdata.sourceImage": {"actor.process.path"}, "win.eventdata.targetImage": {"process.path"},
	"win.eventdata.grantedAccess": {"process.granted_access"}, "win.eventdata.callTrace": {"process.call_trace"},
	"win.eventdata.hashes": {"process.hashes", "file.hashes"}, "win.eventdata.queryName": {"dns.query"},
	"win.eventdata.scriptBlockText": {"script.content"}, "win.eventdata.integrityLevel": {"process.integrity"},
	"win.eventdata.targetUserName": {"user.name"}, "win.eventdata.subjectUserName": {"actor.user.name"}, "win.eventdata.user": {"actor.user.name"},
	"win.eventdata.ipAddress": {"src_endpoint.ip"}, "win.eventdata.destinationIp": {"dst_endpoint.ip"}, "win.eventdata.destinationPort": {"dst_endpoint.port"},
	"win.eventdata.sourceIp": {"src_endpoint.ip"}, "win.eventdata.targetUserSid": {"user.uid"}, "win.eventdata.subjectUserSid": {"actor.user.uid"},

	"aws.eventName": {"api.operation"}, "aws.eventSource": {"api.service"}, "aws.sourceIPAddress": {"src_endpoint.ip"}, "aws.source_ip_address": {"src_endpoint.ip"},
	"aws.userIdentity.userName": {"actor.user.name"}, "aws.errorCode": {"status_code"}, "aws.error_code": {"status_code"},
	"github.action": {"api.operation"}, "github.actor": {"actor.user.name"}, "github.repo": {"resource.name"},
	"gcp.protoPayload.methodName": {"api.operation"}, "gcp.protoPayload.serviceName": {"api.service"},
	"audit.type": {"metadata.event_code"}, "audit.key": {"metadata.log_name"}, "audit.exe": {"process.path"}, "audit.command": {"process.name"},
	"osquery.name":     {"metadata.log_name"},
	"http_status_code": {"http_response.code"}, "http.hostname": {"http_request.hostname"}, "http.url": {"http_request.path"}, "http.http_method": {"http_request.method"},
	"alert.signature": {"finding_info.title"}, "dns.rrname": {"dns.query"}, "src_ip": {"src_endpoint.ip"}, "dest_ip": {"dst_endpoint.ip"},
}

// prefixes say which source a family of fields comes from.
var prefixes = []struct {
	prefix   string
	products []string
}{
	{"win.", windows},
	{"github.", []string{"github.audit"}},
	{"aws.", []string{"aws.cloudtrail"}},
	{"gcp.", []string{"gcp.audit"}},
	{"audit.", []string{"linux.auditd"}},
	{"osquery.", []string{"osquery.result"}},
}

// valued are fields whose values the hub has as numbers: value in lower case →
// condition.
var valued = map[string]map[string]string{
	"action": {
		"drop": "action_id == 2", "dropped": "action_id == 2", "deny": "action_id == 2", "denied": "action_id == 2", "reject": "action_id == 2", "block": "action_id == 2",
		"blocked": "action_id == 2", "accept": "action_id == 1", "allow": "action_id == 1", "allowed": "action_id == 1", "pass": "action_id == 1",
	},
	"audit.res":     {"success": "status_id == 1", "failed": "status_id == 2", "1": "status_id == 1", "0": "status_id == 2"},
	"audit.success": {"yes": "status_id == 1", "no": "status_id == 2"},
}

// byValue is the condition on such a field; false if a value is not known.
func byValue(name, text string) (clause, bool) {
	list, ok := plain(text)
	table := valued[name]
	if !ok || table == nil {
		return clause{}, false
	}
	var any []clause
	for _, t := range list {
		condition := table[strings.ToLower(t.Value)]
		if condition == "" {
			return clause{}, false
		}
		col, _ := event.ByPath(strings.Fields(condition)[0])
		any = append(any, clause{condition, col.Families})
	}
	return or(any...), true
}

// decoders say what a decoder stands for: programs that write syslog, another
// condition on it, sources of the hub, or nothing that narrows the events.
var decoders = map[string]struct {
	programs, products, classes []string
	when                        string
}{
	"json": {}, "windows-date-format": {},
	"windows_eventchannel": {products: windows},
	"auditd":               {products: []string{"linux.auditd"}},
	"web-accesslog":        {classes: []string{"http_activity"}},
	"nginx-errorlog":       {products: []string{"nginx.error"}},
	"sshd":                 {programs: []string{"sshd", "sshd-session", "sshd-auth"}},
	"pam":                  {when: `(iendsWith(actor.app_name, "(pam_unix)") or icontains(message, "pam_"))`},
	"kernel":               {programs: []string{"kernel"}},
}

// categories say what a log's category stands for, as decoders do.
var categories = map[string][]string{"web-log": {"http_activity"}, "syslog": nil, "firewall": {"network_activity"}, "ids": {"detection_finding"}, "squid": {"http_activity"}}

// integrations are the modules of Wazuh that fetch logs, with the hub's sources.
var integrations = map[string]string{"aws": "aws.cloudtrail", "gcp": "gcp.audit", "github": "github.audit", "ms-graph": "microsoft.graph_alerts"}

// severity is what Wazuh makes of an event's level and keywords. The hub's
// mappings give severity_id and status_id instead.
func severity(text string) clause {
	var any []clause
	for word, condition := range map[string]string{
		"INFORMATION": "severity_id <= 2", "WARNING": "severity_id == 3", "ERROR": "severity_id == 4", "CRITICAL": "severity_id == 5",
		"AUDIT_SUCCESS": "status_id != 2", "AUDIT_FAILURE": "status_id == 2",
	} {
		if strings.Contains(text, word) {
			any = append(any, clause{condition, everyFamily})
		}
	}
	slices.SortFunc(any, func(a, b clause) int { return strings.Compare(a.text, b.text) })
	if len(any) == 0 {
		any = append(any, clause{families: everyFamily})
	}
	return or(any...)
}

// windows are the sources of Windows' event logs.
var windows = []string{"microsoft.windows", "microsoft.security", "microsoft.sysmon", "microsoft.powershell"}

// same says which field the elements same_… and different_… compare.
var same = map[string]string{
	"same_source_ip": "srcip", "same_srcip": "srcip", "same_dstip": "dstip", "same_destination_ip": "dstip", "same_src_port": "srcport", "same_srcport": "srcport",
	"same_dst_port": "dstport", "same_dstport": "dstport", "same_user": "user", "same_srcuser": "srcuser", "same_dstuser": "dstuser", "same_url": "url",
	"same_hostname": "hostname", "same_location": "hostname", "same_protocol": "protocol",
	"different_source_ip": "srcip", "different_srcip": "srcip", "different_dstip": "dstip", "different_user": "user", "different_url": "url",
	"different_srcuser": "srcuser", "different_dstuser": "dstuser", "different_srcport": "srcport", "different_dstport": "dstport",
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// place says what to read for a field; guessed if no column has it, so that it
// is what the mapping left over, by the name that the source itself uses.
func place(name string) (paths []string, guessed bool) {
	if p := fields[name]; p != nil {
		return p, false
	}
	if _, ok := event.ByPath(name); ok {
		return []string{name}, false
	}
	key := name
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(name, p.prefix); ok && p.prefix != "win." {
			key = rest
		}
	}
	if rest, ok := strings.CutPrefix(name, "win.eventdata."); ok && rest != "" {
		key = strings.ToUpper(rest[:1]) + rest[1:]
	}
	if rest, ok := strings.CutPrefix(name, "win.system."); ok && rest != "" {
		key = strings.ToUpper(rest[:1]) + rest[1:]
	}
	if plainKey.MatchString(key) {
		return []string{"unmapped." + key}, true
	}
	return []string{"unmapped[" + quote(key) + "]"}, true
}
