package cli

import "os"

// hostName returns the machine's name as an agent can have it.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "agent"
	}
	return agentName(name)
}

// agentName makes a name of any text: what a name may not hold becomes a dash.
func agentName(s string) string {
	b := []byte(s)
	for i, c := range b {
		ok := c == '-' || c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
		if !ok {
			b[i] = '-'
		}
	}
	for len(b) > 0 && (b[0] == '-' || b[0] == '_') {
		b = b[1:]
	}
	if len(b) == 0 {
		return "agent"
	}
	return string(b[:min(len(b), 40)])
}
