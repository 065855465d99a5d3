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

// An agent says every AgentHeartbeat that it is alive, and is held to be so
// for AgentLease after it last did.
const (
	AgentLease     = 30 * time.Second
	AgentHeartbeat = 10 * time.Second
)

// Limits of what an agent says of itself.
const (
	MaxCard        = 64 << 10 // bytes
	MaxCardName    = 200      // characters
	MaxAgentURL    = 2048     // characters
	MaxCurrentTask = 200      // characters
	MaxActiveTasks = 1_000_000
)

// Agent is what is known of the agent that runs in a workspace, or somewhere
// else for it. Times are epoch milliseconds.
type Agent struct {
	Generation  int64           `json:"generation"`     // of the start that it belongs to
	URL         string          `json:"url"`            // empty: it is where the workspace runs
	Card        json.RawMessage `json:"card"`           // a JSON object, of which the server knows the name only
	Registered  int64           `json:"registered"`     // when it did
	LeaseUntil  int64           `json:"lease_until"`    // alive at least until then
	Active      int64           `json:"active"`         // when it last had something to do
	ErrorRate   float64         `json:"error_rate"`     // 0 to 1
	ActiveTasks int64           `json:"active_tasks"`   // how many
	CurrentTask string          `json:"current_task"`   // a line, for people
	Uptime      int64           `json:"uptime_seconds"` // of its process
}

// Registration is what an agent says of itself when it is ready.
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

// Heartbeat is what an agent says from time to time.
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
		return Errorf(Invalid, "error_rate has to be a number from 0 to 1")
	case b.ActiveTasks < 0 || b.ActiveTasks > MaxActiveTasks:
		return Errorf(Invalid, "active_tasks has to be a number from 0 to %d", MaxActiveTasks)
	case b.Uptime < 0:
		return Errorf(Invalid, "uptime_seconds must not be negative")
	case b.LastActive < 0:
		return Errorf(Invalid, "last_active must not be negative; 0 is never")
	}
	return checkText("current_task", b.CurrentTask, MaxCurrentTask)
}

func checkGeneration(n int64) error {
	if n < 1 {
		return Errorf(Invalid, "generation is required: it is what the agent was started with, a number from 1")
	}
	return nil
}

func checkCard(card json.RawMessage) error {
	if len(card) == 0 {
		return Errorf(Invalid, "card is required")
	}
	if len(card) > MaxCard {
		return Errorf(Invalid, "card has %d bytes; at most %d are allowed", len(card), MaxCard)
	}
	// A map tells "name" from "Name", which fields of a struct do not.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(card, &fields); err != nil || fields == nil {
		return Errorf(Invalid, "card has to be a JSON object")
	}
	var name *string
	if err := json.Unmarshal(fields["name"], &name); err != nil || name == nil || strings.TrimSpace(*name) == "" {
		return Errorf(Invalid, "card needs a name, which is a text")
	}
	return checkText("the card's name", *name, MaxCardName)
}

// CheckAgentURL fails with Invalid on what is not plainly the address of a web
// server: all that one program may read as one host, and another as a second.
// Where it leads is not known before it is dialled.
func CheckAgentURL(text string) error {
	if err := checkText("url", text, MaxAgentURL); err != nil {
		return err
	}
	invalid := func(why string) error { return Errorf(Invalid, "url %s %s", quote(text), why) }
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return invalid("cannot be read as a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid("does not begin with http:// or https://")
	case u.User != nil:
		return invalid("holds a user name, and must not")
	case strings.Contains(text, "#"):
		return invalid("holds a fragment, and must not")
	case strings.Contains(text, `\`):
		return invalid("holds a backslash, and must not")
	case !isHost(u.Hostname()):
		return invalid("has no plain host: give a name in ASCII (xn-- for others) or an IP address in its usual form")
	case strings.HasSuffix(u.Host, ":"):
		return invalid("has a colon without a port")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return invalid("has a port that is not a number from 1 to 65535")
		}
	}
	return nil
}

// isHost reports whether a text is an IP address, or a name that nobody takes
// for one, as some do 127.1, 2130706433 and 0x7f000001.
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

// Registry keeps what is known of agents. Times are the database's. Each method
// fails with NotFound when there is no such workspace, and may also fail with
// Unavailable and with Internal.
type Registry interface {
	// Register records that an agent is ready, which brings its workspace from
	// starting to running. It fails with Conflict as Work.Ready does.
	Register(ctx context.Context, id string, r Registration) error

	// Heartbeat renews an agent's lease. It is no change of the workspace, and
	// brings none back: it fails with Conflict as Work.Ready does, and when
	// the agent has not registered.
	Heartbeat(ctx context.Context, id string, b Heartbeat) error

	// Agent returns what is known of the agent that registered last. It fails
	// with NotFound when none has.
	Agent(ctx context.Context, id string) (Agent, error)

	// Reach returns a workspace, and the URL that the agent of its present
	// generation registered, if it did so with one.
	Reach(ctx context.Context, id string) (Work, string, error)

	// Touch notes that something was asked of an agent, if there is one.
	Touch(ctx context.Context, id string) error
}
