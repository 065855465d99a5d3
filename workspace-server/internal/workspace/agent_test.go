package workspace

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRegistration(t *testing.T) {
	card := func(text string) Registration {
		return Registration{Generation: 1, Card: json.RawMessage(text)}
	}
	full := `{"name":"a","x":"` + strings.Repeat("x", MaxCard-len(`{"name":"a","x":""}`)) + `"}`
	tests := []struct {
		call string
		r    Registration
		want string // part of the error; empty: none
	}{
		{"the least", card(`{"name":"a"}`), ""},
		{"fields of whichever version", card(` {"name":"größer 日本","skills":[{"id":1}],"supportedInterfaces":null} `), ""},
		{"as large as allowed", card(full), ""},
		{"a URL", Registration{Generation: 3, URL: "https://agents.example.com/a", Card: json.RawMessage(`{"name":"a"}`)}, ""},
		{"no generation", Registration{Card: json.RawMessage(`{"name":"a"}`)}, "The field \"generation\" is required"},
		{"a negative generation", Registration{Generation: -1, Card: json.RawMessage(`{"name":"a"}`)}, "The field \"generation\" is required"},
		{"a bad URL", Registration{Generation: 1, URL: "x", Card: json.RawMessage(`{"name":"a"}`)}, `URL "x"`},
		{"no card", Registration{Generation: 1}, "The field \"card\" is required"},
		{"too large", card(full + " "), "card has 65537 bytes; at most 65536"},
		{"null", card(`null`), "must be a JSON object"},
		{"a list", card(`[]`), "must be a JSON object"},
		{"a text", card(`"name"`), "must be a JSON object"},
		{"half", card(`{"name":"a"`), "must be a JSON object"},
		{"two", card(`{"name":"a"}{}`), "must be a JSON object"},
		{"no name", card(`{}`), "needs a name"},
		{"another case", card(`{"Name":"a"}`), "needs a name"},
		{"null as name", card(`{"name":null}`), "needs a name"},
		{"a number as name", card(`{"name":1}`), "needs a name"},
		{"an empty name", card(`{"name":" "}`), "needs a name"},
		{"the last of two names", card(`{"name":"a","name":""}`), "needs a name"},
		{"a name of two lines", card(`{"name":"a\nb"}`), "cannot be printed"},
		{"a name with NUL", card(`{"name":"a\u0000"}`), "cannot be printed"},
		{"a long name", card(`{"name":"` + strings.Repeat("é", MaxCardName+1) + `"}`), "has 201 characters"},
	}
	for _, tt := range tests {
		checkInvalid(t, "Check of "+tt.call, tt.r.Check(), tt.want)
	}
}

func TestHeartbeat(t *testing.T) {
	tests := []struct {
		b    Heartbeat
		want string // part of the error; empty: none
	}{
		{Heartbeat{Generation: 1}, ""},
		{Heartbeat{2, 1, MaxActiveTasks, strings.Repeat("é", MaxCurrentTask), 1 << 40, 1 << 50}, ""},
		{Heartbeat{}, "The field \"generation\" is required"},
		{Heartbeat{Generation: 1, ErrorRate: -0.1}, `"error_rate" must be`},
		{Heartbeat{Generation: 1, ErrorRate: 1.1}, `"error_rate" must be`},
		{Heartbeat{Generation: 1, ActiveTasks: -1}, `"active_tasks" must be`},
		{Heartbeat{Generation: 1, ActiveTasks: MaxActiveTasks + 1}, `"active_tasks" must be`},
		{Heartbeat{Generation: 1, Uptime: -1}, `"uptime_seconds" must not be negative`},
		{Heartbeat{Generation: 1, LastActive: -1}, `"last_active" must not be negative`},
		{Heartbeat{Generation: 1, CurrentTask: "a\x1b[2J"}, "The current task holds a character that cannot be printed"},
		{Heartbeat{Generation: 1, CurrentTask: "a\xff"}, "The current task is not valid UTF-8"},
		{Heartbeat{Generation: 1, CurrentTask: strings.Repeat("a", MaxCurrentTask+1)}, "The current task has 201 characters"},
	}
	for _, tt := range tests {
		checkInvalid(t, "Check of "+quote(mustJSON(t, tt.b)), tt.b.Check(), tt.want)
	}
}

func TestAgentURL(t *testing.T) {
	const host, scheme, port = "has no plain host", "must begin with http", "must have a port"
	tests := []struct{ url, want string }{
		{"http://example.com", ""},
		{"https://Agents.example.com:8443/a/b?c=d", ""},
		{"http://203.0.113.9/", ""}, // which addresses may be dialled is not decided here
		{"http://127.0.0.1:8000/", ""},
		{"http://[2001:db8::1]:8000/", ""},
		{"http://[::ffff:127.0.0.1]/", ""},
		{"http://xn--bcher-kva.example/", ""},
		{"http://a_b.example", ""},
		{"http://localhost", ""},

		{"", scheme},
		{"example.com", scheme},
		{"//example.com", scheme},
		{"127.0.0.1:80", "cannot be read."},
		{"ftp://example.com", scheme},
		{"file:///etc/passwd", scheme},
		{"unix:///var/run/docker.sock", scheme},
		{"http+unix://%2Fvar%2Frun%2Fdocker.sock/", "cannot be read."},
		{"javascript:alert(1)", scheme},
		{"http:example.com", host},
		{"http:/example.com", host},
		{"http:///example.com", host},
		{"http://%2Fvar%2Frun%2Fdocker.sock/", "cannot be read."},
		{"http://", host},

		{"http://user@example.com", "must not hold a user name"},
		{"http://user:password@example.com", "must not hold a user name"},
		{"http://@example.com", "must not hold a user name"},
		{"http://example.com@127.0.0.1", "must not hold a user name"},
		{"http://127.0.0.1#@example.com", "must not hold a fragment"},
		{"http://example.com/#", "must not hold a fragment"},
		{`http://127.0.0.1\@example.com`, "cannot be read."},
		{`http://example.com/\..`, "must not hold a backslash"},

		{"http://2130706433", host},
		{"http://0", host},
		{"http://127.1", host},
		{"http://0177.0.0.1", host},
		{"http://127.0.0.01", host},
		{"http://017700000001", host},
		{"http://0x7f000001", host},
		{"http://0x7f.0.0.1", host},
		{"http://127.0.0.0x1", host},
		{"http://127.0.0.1.", host},
		{"http://127.0.0.1.5", host},
		{"http://256.0.0.1", host},
		{"http://localhost.", host},
		{"http://example..com", host},
		{"http://.example.com", host},
		{"http://-a.example", host},
		{"http://a-.example", host},
		{"http://a%41.example", "cannot be read."},
		{"http://a b.example", "cannot be read."},
		{"http://" + strings.Repeat("a", 64) + ".example", host},
		{"http://" + strings.Repeat("a.", 127) + "example", host},
		{"http://[fe80::1%25eth0]/", host},
		{"http://[::1", "cannot be read."},
		{"http://bücher.example", host},
		{"http://b%C3%BCcher.example", host},
		{"http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", host},
		{"http://１２７.0.0.1", host},
		{"http://127。0。0。1", host},

		{"http://example.com:0", port},
		{"http://example.com:080", port},
		{"http://example.com:65536", port},
		{"http://example.com:", "has a colon without a port"},
		{"http://example.com:http", "cannot be read."},
		{"http://example.com:-1", "cannot be read."},

		{"http://example.com/\r\nHost: x", "cannot be printed"},
		{"http://example.com/\t", "cannot be printed"},
		{"http://example.com/\u202e", "cannot be printed"},
		{"http://example.com/\xff", "is not valid UTF-8"},
		{"http://example.com/" + strings.Repeat("a", MaxAgentURL), "at most 2048 are allowed"},
	}
	for _, tt := range tests {
		checkInvalid(t, "CheckAgentURL("+quote(tt.url)+")", CheckAgentURL(tt.url), tt.want)
	}
}

func checkInvalid(t *testing.T, call string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s = %v, want no error", call, err)
	case want != "" && (KindOf(err) != Invalid || !strings.Contains(Message(err), want)):
		t.Errorf("%s = %v, want Invalid with %q", call, err, want)
	}
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
