package rulegen

import (
	"fmt"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Rules makes n rules: half look at process creations, the rest at registry,
// file, module, network and access events, and a tenth at AI gateways and
// Kubernetes. Equal arguments give equal rules.
func Rules(n int, seed uint64) ([]*rule.Rule, error) {
	g := newGen(seed)
	out := make([]*rule.Rule, 0, n)
	for i := range n {
		src, source := g.rule()
		e, err := lang.Compile(src, source.Families)
		if err != nil {
			return nil, fmt.Errorf("compile generated rule %q: %w", src, err)
		}
		id := fmt.Sprintf("generated.rule-%d", i)
		out = append(out, &rule.Rule{ID: id, Title: id, When: e, Source: source, Alert: rule.Alert{EntityType: "host", EntityPath: event.DeviceHostname}})
	}
	return out, nil
}

func windows(class uint32) rule.Source {
	return rule.Source{Classes: []uint32{class}, Families: 1 << event.FamilyHost, Products: []string{"microsoft.sysmon"}}
}

func (g gen) rule() (string, rule.Source) {
	switch f := g.IntN(100); {
	case f < 50:
		return g.processRule(), windows(event.ClassProcessActivity)
	case f < 62:
		return g.registryRule(), windows(event.ClassRegistryValueActivity)
	case f < 72:
		return g.fileRule(), windows(event.ClassFileActivity)
	case f < 79:
		return g.loadRule(), windows(event.ClassModuleActivity)
	case f < 84:
		return g.networkRule(), windows(event.ClassNetworkActivity)
	case f < 90:
		return g.accessRule(), windows(event.ClassProcessActivity)
	case f < 95:
		return fmt.Sprintf(`icontains(message_context.prompt_text, %s) and http_response.code < 400`, g.texts(1+g.IntN(6), g.phrase)),
			rule.Source{Families: 1<<event.FamilyAI | 1<<event.FamilyNetwork}
	}
	return fmt.Sprintf(`api.operation in ["create", "update", "patch"] and resource.type == %q and icontains(resource.data, %s)`,
			one(g, []string{"pods", "pods/exec", "secrets", "clusterrolebindings", "deployments", "cronjobs"}), g.texts(1+g.IntN(4), g.phrase)),
		rule.Source{Families: 1 << event.FamilyAPI, Products: []string{"kubernetes.audit"}}
}

// texts is a list of n literals.
func (g gen) texts(n int, f func() string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%q", f())
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// few is a number of values: median 2, a long tail.
func (g gen) few() int {
	n := 1 + g.IntN(4)
	if g.IntN(12) == 0 {
		n += g.IntN(40)
	}
	return n
}

func (g gen) image() string {
	if g.IntN(3) == 0 {
		return `\` + g.word(2) + ".exe"
	}
	return `\` + programs[8+g.IntN(len(programs)-8)]
}

func (g gen) fragment() string {
	switch g.IntN(9) {
	case 0:
		return one(g, fragments)
	case 1:
		return " /" + g.word(1+g.IntN(2))
	case 2:
		return " -" + g.word(1+g.IntN(2)) + " "
	case 3:
		return "Invoke-" + title(g.word(2)) + title(g.word(1))
	case 4:
		return `\` + g.word(2) + one(g, []string{".ps1", ".dll", ".bat", ".vbs", `\`})
	case 5:
		return " --" + g.word(1) + "-" + g.word(2)
	case 6:
		return g.word(2) + "." + g.word(1) + "/"
	case 7:
		return title(g.word(1)) + "." + title(g.word(2)) + "::" + title(g.word(1))
	}
	return g.word(2) + " " + g.word(2)
}

func (g gen) phrase() string { return g.word(2) + " " + g.word(1+g.IntN(2)) + " " + g.word(2) }

func (g gen) processRule() string {
	image := fmt.Sprintf(`iendsWith(process.path, %s)`, g.texts(1+g.IntN(3), g.image))
	switch g.IntN(10) {
	case 0, 1, 2:
		return image + fmt.Sprintf(` and icontains(process.cmd_line, %s)`, g.texts(g.few(), g.fragment))
	case 3, 4:
		return fmt.Sprintf(`icontains(process.cmd_line, %s)`, g.texts(g.few(), func() string { return "Invoke-" + title(g.word(2)) }))
	case 5:
		return fmt.Sprintf(`(%s or ieq(process.original_file_name, %q)) and icontains_all(process.cmd_line, %q, %q)`, image, g.word(2)+".exe", g.fragment(), g.fragment())
	case 6:
		return fmt.Sprintf(`iendsWith(process.parent_process.path, %s) and iendsWith(process.path, %s) and not icontains(process.cmd_line, %s)`,
			g.texts(1+g.IntN(3), g.image), g.texts(1+g.IntN(6), g.image), g.texts(1+g.IntN(2), g.fragment))
	case 7:
		return image + fmt.Sprintf(` and (icontains(process.cmd_line, %s) or icontains(process.parent_process.cmd_line, %s))`, g.texts(g.few(), g.fragment), g.texts(1+g.IntN(2), g.fragment))
	case 8:
		return fmt.Sprintf(`%s and process.cmd_line matches "(?i)%s\\s+[a-z]{2,8}=%s"`, image, g.word(2), g.word(1))
	}
	return fmt.Sprintf(`icontains_all(process.cmd_line, %q, %q, %q) and not istartsWith(process.path, %q)`, g.fragment(), g.fragment(), g.fragment(), folders[0])
}

func (g gen) registryRule() string {
	key := func() string { return `\` + title(g.word(2)) + `\` + one(g, registryNames) }
	switch g.IntN(3) {
	case 0:
		return fmt.Sprintf(`iendsWith(reg_key.path, %s)`, g.texts(g.few(), key))
	case 1:
		return fmt.Sprintf(`icontains(reg_key.path, %s) and not iendsWith(actor.process.path, %s)`, g.texts(g.few(), func() string { return `\` + title(g.word(3)) + `\` }), g.texts(1+g.IntN(3), g.image))
	}
	return fmt.Sprintf(`icontains(reg_key.path, %q) and ieq(reg_value.data, %q)`, `\`+title(g.word(2)), "DWORD (0x00000000)")
}

func (g gen) fileRule() string {
	if g.IntN(2) == 0 {
		return fmt.Sprintf(`iendsWith(file.path, %s)`, g.texts(g.few(), func() string {
			return `\` + g.word(2+g.IntN(2)) + one(g, []string{".ps1", ".dll", ".exe", ".lnk", ".iso"})
		}))
	}
	return fmt.Sprintf(`iendsWith(actor.process.path, %s) and icontains(file.path, %s)`, g.texts(1+g.IntN(3), g.image), g.texts(1+g.IntN(4), func() string { return `\` + g.word(2) + `\` }))
}

func (g gen) loadRule() string {
	return fmt.Sprintf(`iendsWith(file.path, %s) and file.signed != "true"`, g.texts(g.few(), func() string { return `\` + g.word(2) + ".dll" }))
}

func (g gen) networkRule() string {
	if g.IntN(2) == 0 {
		return fmt.Sprintf(`iendsWith(dst_endpoint.hostname, %s)`, g.texts(g.few(), func() string { return "." + g.word(2) + ".example" }))
	}
	return fmt.Sprintf(`iendsWith(actor.process.path, %s) and dst_endpoint.port in [%d, %d]`, g.texts(1+g.IntN(3), func() string { return `\` + g.word(2) + ".exe" }), 1024+g.IntN(60000), 1024+g.IntN(60000))
}

func (g gen) accessRule() string {
	return fmt.Sprintf(`iendsWith(process.path, "\\lsass.exe") and process.granted_access in ["0x%x", "0x%x"] and icontains(process.call_trace, %s)`,
		g.IntN(1<<16), g.IntN(1<<16), g.texts(1+g.IntN(3), func() string { return g.word(2) + ".dll" }))
}
