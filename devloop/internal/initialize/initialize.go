package initialize

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// Options say what to write.
type Options struct {
	Dir       string   // where the module is
	Main      string   // the main package's directory; "": the only one, or ask
	Listen    string   // the loop's address; "": the program's own, or one beside it
	Arguments []string // of the program
	Force     bool     // replace what is there
	Container bool     // write a dev container, too
	Source    string   // the directory of devloop's module, for its image

	Ask io.Reader // answers, or nil if no one can be asked
	Out io.Writer
}

// A ChoiceError says that someone must choose among main packages.
type ChoiceError struct{ Names string }

// Error implements error.
func (e *ChoiceError) Error() string {
	return "there are several main packages: choose one with -main, of " + e.Names
}

// Run writes air's configuration for a module and says how the loop is started.
func Run(ctx context.Context, o Options) error {
	m, err := Read(ctx, o.Dir)
	if err != nil {
		return err
	}
	asker := &asker{out: o.Out}
	if o.Ask != nil {
		asker.lines = bufio.NewScanner(o.Ask)
	}
	main, err := choose(m, o, asker)
	if err != nil {
		return err
	}
	listens := m.Listens(main)
	for i, l := range listens {
		if i == 0 || listens[0].Kind != Socket {
			fmt.Fprintln(o.Out, l)
		}
	}
	if listens[0].Kind == Unknown {
		listens = []Listen{asker.listen(listens[0])}
	}
	p := planFor(listens, o)
	path := filepath.Join(m.Dir, Config)
	if o.Container {
		if err := writeContainer(m, main, p, o); err != nil {
			return err
		}
	}
	if err := write(path, config(m, main, p.arguments, ignored(ctx, m.Dir)), o.Force); err != nil {
		return err
	}
	fmt.Fprintln(o.Out, "wrote", path)
	added, err := ignore(ctx, m.Dir)
	if err != nil {
		return fmt.Errorf("have git ignore tmp: %w", err)
	}
	if added != "" {
		fmt.Fprintln(o.Out, "added tmp to", added)
	}
	for _, note := range p.notes {
		fmt.Fprintln(o.Out, note)
	}
	if o.Container {
		fmt.Fprintf(o.Out, "\nStart the loop in a container: in %s,\n\n  docker compose -f docker-compose.dev.yml up\n", m.Dir)
	}
	fmt.Fprintf(o.Out, "\nStart the loop in %s:\n\n  devloop up %s -- air -c %s\n", m.Dir, strings.Join(p.flags, " "), Config)
	return nil
}

func choose(m Module, o Options, asker *asker) (Main, error) {
	switch {
	case o.Main != "":
		return m.Find(o.Main)
	case len(m.Mains) == 0:
		return Main{}, fmt.Errorf("module %s has no main package: run this in the module that has the server", m.Path)
	case len(m.Mains) == 1:
		return m.Mains[0], nil
	case asker.lines == nil:
		return Main{}, &ChoiceError{m.names()}
	}
	return asker.main(m)
}

// String tells what was found, as a line for people.
func (l Listen) String() string {
	by := map[Kind]string{
		Socket: "takes over an inherited socket", Fixed: "listens on " + l.Default, Unknown: "listens on an address that comes from elsewhere",
		Flag: "listens where the flag " + l.Name + " says", Variable: "listens where the variable " + l.Name + " says",
	}[l.Kind]
	if l.Default != "" && (l.Kind == Flag || l.Kind == Variable) {
		by += ", or on " + l.Default
	}
	return l.Where + ": the program " + by
}

// A plan is how the loop runs a program.
type plan struct {
	flags     []string // of "devloop up"
	arguments []string // of the program
	notes     []string
}

// planFor gives each process an address of its own where the program can be told, and
// leaves the rest to the loop, which sees what the program does.
func planFor(listens []Listen, o Options) plan {
	p := plan{arguments: o.Arguments}
	number := 0
	fixed := false
	for _, l := range listens {
		public := address(l.Default, number)
		switch l.Kind {
		case Socket:
			// How many sockets it takes is not known; one is the rule.
			p.listen(o, public, number)
			return p
		case Flag, Variable:
			if fixed {
				continue
			}
			suffix := ""
			if number > 0 {
				suffix = strconv.Itoa(number + 1)
			}
			value := "{addr" + suffix + "}"
			if l.Port {
				value = "{port" + suffix + "}"
			}
			p.listen(o, public, number)
			number++
			switch {
			case l.Kind == Flag && len(l.Name) > 2 && strings.HasPrefix(l.Name, "--"):
				p.arguments = append(p.arguments, l.Name+"="+value)
			case l.Kind == Flag:
				p.arguments = append(p.arguments, l.Name, value)
			case l.Name != "PORT" || !l.Port || suffix != "": // the loop sets PORT itself
				p.flags = append(p.flags, "-setenv", shell(l.Name+"="+value))
			}
		case Fixed:
			if number > 0 {
				p.notes = append(p.notes, fmt.Sprintf("%s: two processes cannot both listen on %s: if the new one ends for that, add -mode fixed", l.Where, l.Default))
				continue
			}
			fixed = true
			number++
			p.listen(o, beside(public), 0)
			p.notes = append(p.notes, fmt.Sprintf("the program keeps %s for itself, so the loop listens beside it", l.Default))
		default:
			p.listen(o, public, number)
			number++
			p.notes = append(p.notes, "the loop sets PORT, and sees where the program listens; if it can be told, put {addr} or {port} among the arguments in entrypoint")
			for _, name := range l.Candidates[:min(3, len(l.Candidates))] {
				p.notes = append(p.notes, "  or add -setenv "+shell(name+"={port}")+", if that variable has its port")
			}
		}
	}
	return p
}

// listen adds the loop's address.
func (p *plan) listen(o Options, public string, number int) {
	if o.Listen != "" && number == 0 {
		public = o.Listen
	}
	p.flags = append(p.flags, "-listen", public)
}

// address returns the loop's address for a program's: the same port, on this machine
// only. If it tells none, the ports from 8080 on are as good as others.
func address(program string, number int) string {
	_, port, err := net.SplitHostPort(program)
	if n, e := net.LookupPort("tcp", port); err != nil || e != nil || n < 1024 { // those below need rights
		port = strconv.Itoa(8080 + number)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// beside returns the next port.
func beside(address string) string {
	host, port, _ := net.SplitHostPort(address)
	n, err := net.LookupPort("tcp", port)
	if err != nil || n >= 65535 {
		n = 8080
	}
	return net.JoinHostPort(host, strconv.Itoa(n+1))
}

// asker asks a person.
type asker struct {
	lines *bufio.Scanner // nil: no one is there
	out   io.Writer
}

var errNoAnswer = errors.New("there was no answer: choose with -main")

func (a *asker) main(m Module) (Main, error) {
	for i, main := range m.Mains {
		fmt.Fprintf(a.out, "%3d  %s\n", i+1, main.Dir)
	}
	for {
		fmt.Fprintf(a.out, "Which one is the server? [1-%d] ", len(m.Mains))
		if !a.lines.Scan() {
			return Main{}, errNoAnswer
		}
		answer := strings.TrimSpace(a.lines.Text())
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(m.Mains) {
			return m.Mains[n-1], nil
		}
		if main, err := m.Find(answer); err == nil {
			return main, nil
		}
	}
}

// listen asks how the program is told its address. Without an answer the loop finds out.
func (a *asker) listen(unknown Listen) Listen {
	if a.lines == nil {
		return unknown
	}
	fmt.Fprint(a.out, "Which flag or variable tells the program its address (such as -addr or PORT; empty: neither)? ")
	a.lines.Scan()
	switch answer := strings.TrimSpace(a.lines.Text()); {
	case answer == "":
		return unknown
	case strings.HasPrefix(answer, "-"):
		return Listen{Kind: Flag, Name: answer, Port: strings.Contains(strings.ToLower(answer), "port")}
	default:
		return Listen{Kind: Variable, Name: answer, Port: strings.HasSuffix(answer, "PORT")}
	}
}
