package rules

// A rule names the packages of this module that a package may import, tests
// apart, and gives the reason why it needs no others.
type rule struct {
	imports []string
	reason  string
}

// importRules returns the rules by package directory. docs/architecture.md shows
// the same table.
func importRules() map[string]rule {
	return map[string]rule{
		"cmd/workspace-server": {[]string{
			"internal/a2a", "internal/agent", "internal/api", "internal/bootstrap", "internal/catalog", "internal/cli", "internal/config",
			"internal/events", "internal/files", "internal/migrate", "internal/outfit",
			"internal/provision", "internal/provision/docker", "internal/provision/process", "internal/reconcile",
			"internal/secret", "internal/store", "internal/sweep",
			"internal/token", "internal/workspace", "migrations",
		}, "it wires the packages together"},

		// The domain.
		"internal/workspace": {nil, "the domain can be read and tested alone"},
		"internal/token":     {[]string{"internal/workspace"}, "the rules for callers can be tested without a database and HTTP"},
		"internal/secret":    {[]string{"internal/private", "internal/workspace"}, "its keys are in a file, and it sees storage through an interface"},

		// What serves requests.
		"internal/api": {[]string{
			"internal/a2a", "internal/catalog", "internal/events", "internal/files", "internal/metrics", "internal/openapi",
			"internal/ratelimit", "internal/secret", "internal/stream", "internal/token", "internal/trace",
			"internal/tree", "internal/workspace",
		}, "it sees storage through the domain's interfaces, so that it links no database driver"},
		"internal/a2a":       {[]string{"internal/stream", "internal/trace", "internal/workspace"}, "others find out where a message goes"},
		"internal/events":    {[]string{"internal/workspace"}, "it serves any reader, and sees storage through an interface"},
		"internal/metrics":   {nil, "it counts without knowing what the counts mean"},
		"internal/openapi":   {nil, "it holds a document"},
		"internal/ratelimit": {nil, "it counts without knowing what it limits"},
		"internal/stream":    {nil, "it writes answers whatever they contain"},
		"internal/trace":     {nil, "it implements a standard"},

		// What runs agents.
		"internal/reconcile": {
			[]string{"internal/provision", "internal/workspace"}, "it sees storage and drivers through interfaces",
		},
		"internal/outfit": {
			[]string{"internal/catalog", "internal/provision", "internal/token", "internal/workspace"},
			"it combines what other packages store, and sees them through interfaces",
		},
		"internal/provision": {
			[]string{"internal/workspace"}, "a driver can be written and tested without the rest of the server",
		},
		"internal/provision/docker": {
			[]string{"internal/provision", "internal/workspace"}, "it knows an engine, and not who asks for instances",
		},
		"internal/provision/process": {
			[]string{"internal/private", "internal/provision", "internal/workspace"}, "it knows processes and records, and not who asks for instances",
		},
		"internal/provision/provisiontest": {
			[]string{"internal/provision"}, "it holds tests for drivers, and the agent that they start",
		},
		"internal/agent": {nil, "it stands for anyone's agent, which shares no code with the server"},

		// What stores.
		"internal/store": {
			[]string{"internal/secret", "internal/token", "internal/workspace"}, "it stores the domain, and knows no callers",
		},
		"internal/store/storetest": {[]string{"internal/migrate", "internal/store", "migrations"}, "it gives tests a database with the schema"},
		"internal/migrate":         {nil, "a schema is older than the code that uses it"},
		"migrations":               {nil, "it holds files"},
		"internal/sweep":           {nil, "it decides when, and callers decide what to remove"},
		"internal/bootstrap":       {[]string{"internal/private", "internal/token"}, "it writes one file, and sees storage through an interface"},

		// What reads and writes files.
		"internal/catalog": {
			[]string{"internal/tree", "internal/workspace"}, "it reads files, and knows no database and no HTTP",
		},
		"internal/files": {
			[]string{"internal/private", "internal/tree", "internal/workspace"}, "it stores files, and knows no database, HTTP or templates",
		},
		"internal/tree":    {[]string{"internal/workspace"}, "the limits on files are the same wherever they are stored"},
		"internal/private": {nil, "it writes files whatever they contain"},

		// What people call.
		"internal/cli": {[]string{
			"internal/bootstrap", "internal/client", "internal/config", "internal/private", "internal/secret", "internal/token", "internal/workspace",
		}, "it knows what the API offers and where the first token lies, and nothing else of a server"},
		"internal/client": {
			[]string{"internal/secret", "internal/token", "internal/workspace"}, "it speaks HTTP, and knows neither a server's code nor a terminal",
		},
		"internal/config": {nil, "settings come before everything else"},

		// What tests use.
		"internal/testkit": {nil, "every package's tests may use it"},
		"internal/rules":   {nil, "it holds tests only"},
	}
}
