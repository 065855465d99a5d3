package openapi

import (
	"cmp"
	"fmt"
	"html"
	"maps"
	"slices"
	"strings"
)

const style = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
code{font:13px/1.5 ui-monospace,monospace}h2{border-bottom:1px solid #ddd;margin-top:3rem}h3 code{font-size:15px}
table{border-collapse:collapse}td{padding:.15rem 1rem .15rem 0;vertical-align:top}.access{color:#666;font-weight:normal;font-size:13px}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}h2{border-color:#444}a{color:#8bf}.access{color:#999}}`

// Page makes a page of the document, which needs no script. The function who says
// in words who has a kind of access; Page fails on a kind without words.
func Page(who func(access string) string) ([]byte, error) {
	d, err := parse()
	if err != nil {
		return nil, fmt.Errorf("read the API's description: %w", err)
	}
	var p page
	p.f("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n")
	p.f("<title>%s</title>\n<style>%s</style></head><body>\n", d.Info.Title, raw(style))
	p.f("<h1>%s</h1>\n<p>%s <a href=\"/openapi.json\">OpenAPI document</a></p>\n", d.Info.Title, d.Info.Description)
	for _, tag := range d.Tags {
		p.f("<h2 id=\"%s\">%s</h2>\n<p>%s</p>\n", tag.Name, tag.Name, tag.Description)
		for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
			for _, method := range slices.SortedFunc(maps.Keys(d.Paths[path]), byUse) {
				o := d.Paths[path][method]
				if !slices.Contains(o.Tags, tag.Name) {
					continue
				}
				words := who(o.Access)
				if words == "" {
					return nil, fmt.Errorf("the API's description has the access %q, which has no words", o.Access)
				}
				p.operation(d, strings.ToUpper(method), path, words, o)
			}
		}
	}
	p.f("<h2 id=\"schemas\">Schemas</h2>\n")
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		s := d.Components.Schemas[name]
		p.f("<h3 id=\"%s\"><code>%s</code></h3>\n<p>%s</p>\n", name, name, s.Description)
		p.fields(s)
	}
	p.f("</body></html>\n")
	return []byte(p.String()), nil
}

// byUse orders methods from reading to deleting.
func byUse(a, b string) int {
	order := []string{"get", "post", "put", "patch", "delete"}
	return cmp.Or(cmp.Compare(slices.Index(order, a), slices.Index(order, b)), cmp.Compare(a, b))
}

// raw is a text that is HTML already.
type raw string

type page struct{ strings.Builder }

// f writes a text, and escapes every argument that is not raw.
func (p *page) f(format string, args ...any) {
	for i, arg := range args {
		if _, ok := arg.(raw); !ok {
			args[i] = html.EscapeString(fmt.Sprint(arg))
		}
	}
	fmt.Fprintf(p, format, args...)
}

func (p *page) operation(d description, method, path, who string, o operation) {
	p.f("<h3><code>%s %s</code> <span class=\"access\">%s</span></h3>\n<p>%s. %s</p>\n<table>\n", method, path, who, o.Summary, o.Description)
	for _, param := range o.Parameters {
		if param.Ref != "" {
			param = d.Components.Parameters[last(param.Ref)]
		}
		text := param.Description
		if param.Schema.Default != nil {
			text += fmt.Sprintf(" Default: %v.", param.Schema.Default)
		}
		p.f("<tr><td><code>%s</code></td><td>%s</td><td>%s</td><td>%s</td></tr>\n", param.Name, param.In, raw(kind(param.Schema)), text)
	}
	if o.Body != nil {
		p.content("body", *o.Body)
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		if r := o.Responses[status]; r.Ref == "" { // a reference is to the errors
			p.content(status, r.content)
		}
	}
	p.f("</table>\n")
}

func (p *page) content(what string, c content) {
	if len(c.Content) == 0 {
		p.f("<tr><td><code>%s</code></td><td></td><td></td><td>%s</td></tr>\n", what, c.Description)
	}
	for _, mediaType := range slices.Sorted(maps.Keys(c.Content)) {
		p.f("<tr><td><code>%s</code></td><td><code>%s</code></td><td>%s</td><td>%s</td></tr>\n",
			what, mediaType, raw(kind(c.Content[mediaType].Schema)), c.Description)
	}
}

func (p *page) fields(s schema) {
	if len(s.Properties) == 0 {
		return
	}
	p.f("<table>\n")
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		f, need := s.Properties[name], "optional"
		if slices.Contains(s.Required, name) {
			need = ""
		}
		p.f("<tr><td><code>%s</code></td><td>%s</td><td>%s</td><td>%s</td></tr>\n", name, raw(kind(f)), need, f.Description)
	}
	p.f("</table>\n")
}

// kind describes the values of a schema, in HTML.
func kind(s schema) string {
	switch {
	case s.Ref != "":
		name := html.EscapeString(last(s.Ref))
		return fmt.Sprintf("<a href=\"#%s\">%s</a>", name, name)
	case s.Items != nil:
		return "list of " + kind(*s.Items)
	case len(s.Enum) > 0:
		return html.EscapeString(strings.Join(s.Enum, ", "))
	}
	if names, ok := s.Type.([]any); ok {
		words := make([]string, len(names))
		for i, name := range names {
			words[i] = fmt.Sprint(name)
		}
		return html.EscapeString(strings.Join(words, " or "))
	}
	return html.EscapeString(fmt.Sprint(s.Type))
}
