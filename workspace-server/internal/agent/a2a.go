package agent

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

// CardPath is the path of an agent's card in A2A.
const CardPath = "/.well-known/agent-card.json"

const (
	maxBody = 1 << 20

	// The limits of what an answer names of the workspace's instructions.
	maxInstructions = 20
	maxInstruction  = 64 << 10
)

// The codes of JSON-RPC's errors.
const (
	codeParse   = -32700
	codeRequest = -32600
	codeMethod  = -32601
	codeParams  = -32602
)

// card describes an agent to clients of A2A 1.0 and of 0.3.
type card struct {
	Name                string          `json:"name"`
	Description         string          `json:"description"`
	Version             string          `json:"version"`
	URL                 string          `json:"url"`
	ProtocolVersion     string          `json:"protocolVersion"`
	PreferredTransport  string          `json:"preferredTransport"`
	SupportedInterfaces []cardInterface `json:"supportedInterfaces"`
	Capabilities        capabilities    `json:"capabilities"`
	DefaultInputModes   []string        `json:"defaultInputModes"`
	DefaultOutputModes  []string        `json:"defaultOutputModes"`
	Skills              []skill         `json:"skills"`
}

type cardInterface struct {
	URL             string `json:"url"`
	ProtocolBinding string `json:"protocolBinding"`
	ProtocolVersion string `json:"protocolVersion"`
}

type capabilities struct {
	Streaming         bool `json:"streaming"`
	PushNotifications bool `json:"pushNotifications"`
}

type skill struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
}

func (a *agent) card(url string) card {
	const binding = "JSONRPC"
	return card{
		Name:                a.name,
		Description:         "The reference agent of a workspace: it repeats messages and names its instructions.",
		Version:             "1.0.0",
		URL:                 url,
		ProtocolVersion:     "0.3.0",
		PreferredTransport:  binding,
		SupportedInterfaces: []cardInterface{{url, binding, "1.0"}, {url, binding, "0.3"}},
		Capabilities:        capabilities{Streaming: true},
		DefaultInputModes:   []string{"text/plain"},
		DefaultOutputModes:  []string{"text/plain"},
		Skills: []skill{{
			"echo", "Echo", "Repeats a message, and names the workspace, its model and its instructions.", []string{"test"},
		}},
	}
}

func (a *agent) routes(c card) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		a.write(w, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET "+CardPath, func(w http.ResponseWriter, _ *http.Request) { a.write(w, c) })
	mux.HandleFunc("POST /{$}", a.rpc)
	return mux
}

// request is a JSON-RPC call.
type request struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

// response has a result or an error.
type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return e.Message }

// rpc answers a call. JSON-RPC's errors are answers too, with status 200.
func (a *agent) rpc(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		code := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			code = http.StatusRequestEntityTooLarge
		}
		http.Error(w, "the request could not be read: send it again", code)
		return
	}
	req, err := parse(body)
	answer := response{Version: "2.0", ID: req.ID}
	stream := false
	if err == nil {
		stream = req.Method == "message/stream" || req.Method == "SendStreamingMessage"
		answer.Result, err = a.dispatch(req)
	}
	failure, failed := errors.AsType[*rpcError](err)
	a.activity.answered(failed)
	if failed {
		answer.Error = failure
	}
	if stream && !failed {
		a.stream(w, answer)
		return
	}
	a.write(w, answer)
}

// parse returns a request, whose id is null if it cannot be read.
func parse(body []byte) (request, error) {
	null := json.RawMessage("null")
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		code, text := codeRequest, "The request is not a JSON-RPC call. Send an object."
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			code, text = codeParse, "The request is not JSON."
		}
		return request{ID: null}, &rpcError{code, text}
	}
	if len(req.ID) == 0 || !bytes.ContainsAny(req.ID[:1], `"-0123456789`) {
		return request{ID: null}, &rpcError{codeRequest, "The id must be a string or a number."}
	}
	if req.Version != "2.0" || req.Method == "" {
		return req, &rpcError{codeRequest, `The field jsonrpc must be "2.0", and the field method is required.`}
	}
	return req, nil
}

// dispatch fails with *rpcError. A2A 0.3 and 1.0 have different names for the same
// methods.
func (a *agent) dispatch(req request) (any, error) {
	switch req.Method {
	case "message/send", "message/stream":
		in, text, err := a.reply(req.Params)
		if err != nil {
			return nil, err
		}
		return messageV03{"message", "agent", rand.Text(), in.ContextID, []partV03{{"text", text}}}, nil
	case "SendMessage", "SendStreamingMessage":
		in, text, err := a.reply(req.Params)
		if err != nil {
			return nil, err
		}
		return map[string]any{"message": messageV1{"ROLE_AGENT", rand.Text(), in.ContextID, []partV1{{text}}}}, nil
	default:
		return nil, &rpcError{codeMethod, fmt.Sprintf("There is no method %q. Use SendMessage or SendStreamingMessage, or message/send or message/stream.", shorten(req.Method, 80))}
	}
}

type messageV03 struct {
	Kind      string    `json:"kind"`
	Role      string    `json:"role"`
	MessageID string    `json:"messageId"`
	ContextID string    `json:"contextId"`
	Parts     []partV03 `json:"parts"`
}

type partV03 struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

type messageV1 struct {
	Role      string   `json:"role"`
	MessageID string   `json:"messageId"`
	ContextID string   `json:"contextId"`
	Parts     []partV1 `json:"parts"`
}

type partV1 struct {
	Text string `json:"text"`
}

// incoming is the part of a message that both versions share.
type incoming struct {
	ContextID string `json:"contextId"`
	Parts     []struct {
		Text *string `json:"text"`
	} `json:"parts"`
}

// reply reads a message and returns the answer's text.
func (a *agent) reply(params json.RawMessage) (incoming, string, error) {
	var p struct {
		Message *incoming `json:"message"`
	}
	if err := json.Unmarshal(params, &p); err != nil || p.Message == nil || len(p.Message.Parts) == 0 {
		return incoming{}, "", &rpcError{codeParams, "The field params.message must be a message with parts."}
	}
	in := *p.Message
	if in.ContextID == "" {
		in.ContextID = rand.Text()
	}
	var texts []string
	for _, part := range in.Parts {
		if part.Text != nil {
			texts = append(texts, *part.Text)
		}
	}
	told := strings.Join(texts, "\n")
	a.activity.begin(time.Now(), told)
	defer a.activity.end()
	return in, a.answer(told, len(in.Parts)-len(texts)), nil
}

// answer returns the text of the agent's answer.
func (a *agent) answer(told string, others int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the reference agent of workspace %s", a.name)
	if a.model != "" {
		fmt.Fprintf(&b, ", where model %s would answer", a.model)
	}
	fmt.Fprintf(&b, ". I was told: %s", told)
	if others > 0 {
		fmt.Fprintf(&b, "\nParts that are no text: %d", others)
	}
	for _, line := range instructions(a.configs) {
		fmt.Fprintf(&b, "\n%s", line)
	}
	return b.String()
}

// instructions returns the names of the Markdown files in a directory, each with its
// first line.
func instructions(dir string) []string {
	if dir == "" {
		return nil
	}
	// Links cannot lead out of a root.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return []string{"My instructions cannot be read."}
	}
	defer root.Close()
	files := root.FS()
	var lines []string
	_ = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && entry != nil && entry.IsDir():
			return fs.SkipDir
		case err != nil || entry.IsDir() || path.Ext(name) != ".md":
			return nil
		case len(lines) == maxInstructions:
			lines = append(lines, "There are more instructions.")
			return fs.SkipAll
		}
		lines = append(lines, "My instructions in "+name+": "+firstLine(files, name))
		return nil
	})
	return lines
}

func firstLine(files fs.FS, name string) string {
	f, err := files.Open(name)
	if err != nil {
		return "(cannot be read)"
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxInstruction))
	if err != nil {
		return "(cannot be read)"
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			return shorten(line, 200)
		}
	}
	return "(empty)"
}

// stream sends the answer as the only event of a stream.
func (a *agent) stream(w http.ResponseWriter, answer response) {
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "the answer could not be made: see the agent's log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil {
		a.log.Debug("the client did not take the answer", "error", err)
	}
}

func (a *agent) write(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		a.log.Debug("the client did not take the answer", "error", err)
	}
}
