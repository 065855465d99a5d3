package agent

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	p := newPlatform(t)
	configs := t.TempDir()
	r := runAgent(t, p, &naps{wake: make(chan struct{})}, configs, nil)
	p.next(t, registerPath, lease)
	defer r.stops(t)
	if resp, err := http.Get(r.url + "/healthz"); err != nil || resp.StatusCode != 200 || resp.Body.Close() != nil {
		t.Errorf("GET /healthz = %v, %v", resp, err)
	}
	instructions := filepath.Join(configs, "prompts", "system.md")
	if err := errors.Join(os.Mkdir(filepath.Dir(instructions), 0o755), os.WriteFile(instructions, []byte("\n  Be brief.\nAnd kind.\n"), 0o644),
		os.WriteFile(filepath.Join(configs, "config.yaml"), []byte("name: hidden"), 0o644), os.Symlink("/etc/passwd", filepath.Join(configs, "passwd.md"))); err != nil {
		t.Fatal(err)
	}
	const about = "This is the reference agent of workspace Ada, where model model-x would answer. I was told: "
	told := about + `hello\nworld\nParts that are no text: 1\nMy instructions in passwd.md: (cannot be read)\nMy instructions in prompts/system.md: Be brief.`
	message := `{"message":{"contextId":"c","messageId":"m","role":"user","parts":[{"kind":"text","text":"hello"},{"text":"world"},{"kind":"file","file":{}}]}}`
	v03 := `"result":{"kind":"message","role":"agent","messageId":"ID","contextId":"c","parts":[{"kind":"text","text":"` + told + `"}]}`
	v1 := `"result":{"message":{"role":"ROLE_AGENT","messageId":"ID","contextId":"c","parts":[{"text":"` + told + `"}]}}`
	tests := []struct{ body, want string }{
		{`{"jsonrpc":"2.0","id":1,"method":"message/send","params":` + message + `}`, `{"jsonrpc":"2.0","id":1,` + v03 + "}\n"},
		{`{"jsonrpc":"2.0","id":"x","method":"SendMessage","params":` + message + `}`, `{"jsonrpc":"2.0","id":"x",` + v1 + "}\n"},
		{`{"jsonrpc":"2.0","id":-2,"method":"message/stream","params":` + message + `}`, `data: {"jsonrpc":"2.0","id":-2,` + v03 + "}\n\n"},
		{`{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage","params":` + message + `}`, `data: {"jsonrpc":"2.0","id":1,` + v1 + "}\n\n"},
		{`{`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"The request is not JSON."}}` + "\n"},
		{``, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"The request is not JSON."}}` + "\n"},
		{`[]`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"The request is not a JSON-RPC call. Send an object."}}` + "\n"},
		{`{"jsonrpc":"2.0","method":"SendMessage"}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"The id must be a string or a number."}}` + "\n"},
		{`{"jsonrpc":"2.0","id":{},"method":"SendMessage"}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"The id must be a string or a number."}}` + "\n"},
		{`{"jsonrpc":"1.0","id":1,"method":"SendMessage"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"The field jsonrpc must be \"2.0\", and the field method is required."}}` + "\n"},
		{`{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"The field params.message must be a message with parts."}}` + "\n"},
		{`{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"parts":[]}}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"The field params.message must be a message with parts."}}` + "\n"},
		{`{"jsonrpc":"2.0","id":1,"method":"tasks/get"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"There is no method \"tasks/get\". Use SendMessage or SendStreamingMessage, or message/send or message/stream."}}` + "\n"},
	}
	for _, tt := range tests {
		got, contentType := r.post(t, tt.body)
		want := "application/json"
		if strings.HasPrefix(tt.want, "data: ") {
			want = "text/event-stream"
		}
		// Ids of messages are not to be foretold.
		if _, rest, ok := strings.Cut(got, `"messageId":"`); ok {
			id, _, _ := strings.Cut(rest, `"`)
			if len(id) < 20 {
				t.Errorf("POST %s: the message has the id %q", tt.body, id)
			}
			got = strings.Replace(got, id, "ID", 1)
		}
		if got != tt.want || contentType != want {
			t.Errorf("POST %s\n got %s %s\nwant %s %s", tt.body, contentType, got, want, tt.want)
		}
	}
	// An edit is seen by the next answer, and so is an odd file.
	for text, want := range map[string]string{"Be long.": "system.md: Be long.", " \n\n": "system.md: (empty)", strings.Repeat("é", 300): "system.md: " + strings.Repeat("é", 200) + "…"} {
		if err := os.WriteFile(instructions, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, _ := r.post(t, tests[0].body); !strings.Contains(got, want+`"`) {
			t.Errorf("after an edit the answer is %s, want %q at its end", got, want)
		}
	}
	for i := range 30 {
		if err := os.WriteFile(filepath.Join(configs, fmt.Sprintf("%d.md", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := r.post(t, tests[0].body); strings.Count(got, "My instructions in") != maxInstructions || !strings.Contains(got, "There are more instructions.") {
		t.Errorf("with many instructions the answer is %s", got)
	}
	resp, err := http.Post(r.url, "application/json", strings.NewReader(strings.Repeat(" ", maxBody+1)))
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || resp.Body.Close() != nil {
		t.Errorf("POST of more than %d bytes = %v, %v, want 413", maxBody, resp, err)
	}
}
