// Server is the program that devloop's tests keep serving. It takes the
// listening socket and says that it is ready as systemd wants it, and drains as
// a server has to that must not lose a request. $BEHAVIOUR, or the variable of
// that name, makes it fail in one of many ways; a file named by $BEHAVIOUR_FILE
// does so for starts of the very same command. With $SERVE it is instead a server
// as most are: it listens itself, says nothing, and ends at once.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if b := os.Getenv("BEHAVIOUR"); b != "" {
		behaviour = b
	}
	if b, err := os.ReadFile(os.Getenv("BEHAVIOUR_FILE")); err == nil {
		behaviour = string(b)
	}
	fmt.Printf("server %s starts %s\n", version, behaviour)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, os.Interrupt)
	switch behaviour {
	case "panic":
		panic("broken at start")
	case "exit":
		os.Exit(0)
	case "never-ready":
		<-term
		os.Exit(1)
	case "sleep": // what "child" starts
		time.Sleep(time.Hour)
	case "chatty":
		for i := range 20000 {
			fmt.Printf("line %d of a server that has much to say\n", i)
		}
	case "chatty-panic":
		for i := range 20000 {
			fmt.Printf("line %d of a server that has much to say\n", i)
		}
		panic("broken after many words")
	case "child":
		startChild()
	}

	if how := os.Getenv("SERVE"); how != "" {
		signal.Reset()
		fmt.Fprintln(os.Stderr, plain(how))
		os.Exit(1)
	}
	ln, err := listener()
	if err != nil {
		fmt.Fprintln(os.Stderr, "listen:", err)
		os.Exit(1)
	}
	s := newServer(http.HandlerFunc(serve))
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	if behaviour != "silent" {
		tell("READY=1")
	}
	switch behaviour {
	case "ready-panic":
		panic("broken once ready")
	case "ready-exit":
		os.Exit(0)
	}

	select {
	case <-term:
	case err := <-served:
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
	if behaviour == "ignore-term" {
		fmt.Println("ignoring SIGTERM")
		time.Sleep(time.Hour)
	}
	s.Drain(func() { tell("STOPPING=1") })
}

// plain listens on $PORT, on the address that is the first argument, or on one
// given here.
func plain(how string) error {
	switch how {
	case "port":
		how = ":" + os.Getenv("PORT")
	case "argument":
		how = os.Args[1]
	}
	if early := os.Getenv("TOO_EARLY"); early != "" {
		tell("READY=1")
	}
	for also := range strings.FieldsSeq(os.Getenv("ALSO")) {
		go func() { fmt.Fprintln(os.Stderr, http.ListenAndServe(also, http.HandlerFunc(serve))) }()
	}
	return http.ListenAndServe(how, http.HandlerFunc(serve))
}

// listener returns the socket that was passed on, or one on $ADDRESS.
func listener() (net.Listener, error) {
	if os.Getenv("LISTEN_FDS") == "" {
		return net.Listen("tcp", os.Getenv("ADDRESS"))
	}
	syscall.CloseOnExec(3)
	f := os.NewFile(3, "listener")
	defer f.Close()
	return net.FileListener(f)
}

func tell(state string) {
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintln(conn, state)
}

// startChild leaves a process in this one's group and writes its number to
// $PIDFILE.
func startChild() {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), "BEHAVIOUR=sleep")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		panic(err)
	}
	name := os.Getenv("PIDFILE")
	fresh := filepath.Join(filepath.Dir(name), "."+filepath.Base(name))
	if err := os.WriteFile(fresh, []byte(strconv.Itoa(child.Process.Pid)), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(fresh, name); err != nil {
		panic(err)
	}
}

func serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server-Pid", strconv.Itoa(os.Getpid()))
	w.Header().Set("Server-Version", version)
	switch {
	case r.URL.Path == "/debugged":
		fmt.Fprintln(w, debugged("world"))
		return
	case r.URL.Path == "/endless":
		for line := make([]byte, 64<<10); ; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	case r.URL.Path == "/upgrade":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, conn)
		return
	case r.URL.Path == "/panic":
		go panic("broken by a request")
		time.Sleep(time.Hour)
	case strings.HasPrefix(r.URL.Path, "/slow/"):
		d, err := time.ParseDuration(r.URL.Path[len("/slow/"):])
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		// What the client waits for to know that the request is being served.
		_ = http.NewResponseController(w).Flush()
		time.Sleep(d)
	case r.Method == http.MethodPost:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(body)
		return
	}
	fmt.Fprintf(w, "version %s pid %d\n", version, os.Getpid())
}
