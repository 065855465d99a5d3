package workspace

import (
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An agent sends a heartbeat every AgentHeartbeat, and counts as alive for
// AgentLease after each.
const (
	AgentLease     = 30 * time.Second
	AgentHeartbeat = 10 * time.Second
)

// Limits of what an agent reports.
const (
	MaxCard        = 64 << 10 // bytes
	MaxCardName    = 200      // characters
	MaxAgentURL    = 2048     // characters
	MaxCurrentTask = 200      // characters
	MaxActiveTasks = 1_000_000
)

// Agent is what the server knows of the agent of a workspace, which may run
// elsewhere. Times are epoch milliseconds.
type Agent struct {
	Generation  int64           `json:"generation"`     // the start that it belongs to
	URL         string          `json:"url"`            // empty: it runs in the workspace
	Card        json.RawMessage `json:"card"`           // a JSON object; the server reads only its name
	Registered  int64           `json:"registered"`     // when it registered
	LeaseUntil  int64           `json:"lease_until"`    // until when it counts as alive
	Active      int64           `json:"active"`         // when it was last active
	ErrorRate   float64         `json:"error_rate"`     // the share of failed tasks, 0 to 1
	ActiveTasks int64           `json:"active_tasks"`   // how many it works on
	CurrentTask string          `json:"current_task"`   // a line, for people
	Uptime      int64           `json:"uptime_seconds"` // how long its process has run
}

// Registration is what an agent reports when it is ready.
type Registration struct {
	Generation int64           `json:"generation"`
	URL        string          `json:"url,omitempty"`
	Card       json.RawMessage `json:"card"`
}

// Check fails with Invalid.
func (r Registration) Check() error {
	if err := checkGeneration(r.Generation); err != nil {
		return err
	}
	if r.URL != "" {
		if err := CheckAgentURL(r.URL); err != nil {
			return err
		}
	}
	return checkCard(r.Card)
}

// Heartbeat is what an agent reports from time to time.
type Heartbeat struct {
	Generation  int64   `json:"generation"`
	ErrorRate   float64 `json:"error_rate,omitempty"`
	ActiveTasks int64   `json:"active_tasks,omitempty"`
	CurrentTask string  `json:"current_task,omitempty"`
	Uptime      int64   `json:"uptime_seconds,omitempty"`
	LastActive  int64   `json:"last_active,omitempty"` // epoch milliseconds, by the agent's clock; 0: never
}

// Check fails with Invalid.
func (b Heartbeat) Check() error {
	if err := checkGeneration(b.Generation); err != nil {
		return err
	}
	switch {
	case !(b.ErrorRate >= 0 && b.ErrorRate <= 1):
		return Errorf(Invalid, "The field \"error_rate\" must be a number from 0 to 1.")
	case b.ActiveTasks < 0 || b.ActiveTasks > MaxActiveTasks:
		return Errorf(Invalid, "The field \"active_tasks\" must be a number from 0 to %d.", MaxActiveTasks)
	case b.Uptime < 0:
		return Errorf(Invalid, "The field \"uptime_seconds\" must not be negative.")
	case b.LastActive < 0:
		return Errorf(Invalid, "The field \"last_active\" must not be negative; 0 means never.")
	}
	return checkText("current task", b.CurrentTask, MaxCurrentTask)
}

func checkGeneration(n int64) error {
	if n < 1 {
		return Errorf(Invalid, "The field \"generation\" is required. Send the number in WORKSPACE_GENERATION, which is 1 or more.")
	}
	return nil
}

func checkCard(card json.RawMessage) error {
	if len(card) == 0 {
		return Errorf(Invalid, "The field \"card\" is required. Send the agent's card in it.")
	}
	if len(card) > MaxCard {
		return Errorf(Invalid, "The card has %d bytes; at most %d are allowed.", len(card), MaxCard)
	}
	// A map tells "name" from "Name", which fields of a struct do not.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(card, &fields); err != nil || fields == nil {
		return Errorf(Invalid, "The card must be a JSON object.")
	}
	var name *string
	if err := json.Unmarshal(fields["name"], &name); err != nil || name == nil || strings.TrimSpace(*name) == "" {
		return Errorf(Invalid, "The card needs a name, which must be a text.")
	}
	return checkText("card's name", *name, MaxCardName)
}

// CheckAgentURL fails with Invalid unless text is plainly the address of a web
// server, which no two programs read as different hosts. Only dialling shows where
// it leads.
func CheckAgentURL(text string) error {
	if err := checkText("URL", text, MaxAgentURL); err != nil {
		return err
	}
	invalid := func(why string) error { return Errorf(Invalid, "The URL %s %s.", quote(text), why) }
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return invalid("cannot be read")
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid("must begin with http:// or https://")
	case u.User != nil:
		return invalid("must not hold a user name")
	case strings.Contains(text, "#"):
		return invalid("must not hold a fragment")
	case strings.Contains(text, `\`):
		return invalid("must not hold a backslash")
	case !isHost(u.Hostname()):
		return invalid("has no plain host: use a name in ASCII (xn-- for others) or an IP address in its usual form")
	case strings.HasSuffix(u.Host, ":"):
		return invalid("has a colon without a port")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return invalid("must have a port from 1 to 65535, or none")
		}
	}
	return nil
}

// isHost reports whether a text is an IP address, or a name that no program takes
// for one, as some take 127.1, 2130706433 and 0x7f000001.
func isHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	if len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	// No top-level domain begins with a digit.
	last := labels[len(labels)-1]
	return last[0] < '0' || last[0] > '9'
}

// Registry stores what the server knows of agents. Times are the database's. Each
// method fails with NotFound when the workspace does not exist, and may fail with
// Unavailable and with Internal.
type Registry interface {
	// Register records that an agent is ready, which moves its workspace from
	// starting to running. It fails with Conflict as Work.Ready does.
	Register(ctx context.Context, id string, r Registration) error

	// Heartbeat renews an agent's lease. It neither changes a workspace nor brings
	// one back: it fails with Conflict as Work.Ready does, and when the agent has
	// not registered.
	Heartbeat(ctx context.Context, id string, b Heartbeat) error

	// Agent returns what the server knows of the agent that registered last. It
	// fails with NotFound when none has.
	Agent(ctx context.Context, id string) (Agent, error)

	// Reach returns a workspace, and the URL that the agent of its current
	// generation registered, if any.
	Reach(ctx context.Context, id string) (Work, string, error)

	// Touch records that a message is on its way to an agent, if there is one.
	Touch(ctx context.Context, id string) error
}
