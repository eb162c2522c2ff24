package traefik

import (
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"gopkg.in/yaml.v3"
)

// defaultThrottle is Traefik's providersThrottleDuration (facts.md A1).
const defaultThrottle = 2 * time.Second

// Settings is what of a Traefik's static configuration matters for reaching
// its API and for waiting. Traefik reads one source only: a file, else flags,
// else the environment.
type Settings struct {
	// Source says where the settings are from: a file's path, "command line",
	// "environment" or "defaults".
	Source string
	// Throttle is the least time between two changes of the routing that one
	// provider makes; default 2 s, zero means none.
	Throttle time.Duration

	API      bool   // the API exists
	Insecure bool   // it is on the entrypoint traefik, below /api, without a router
	BasePath string // without a trailing slash; empty for the default "/"

	EntryPoints map[string]string // name, in lower case, to address as configured

	Docker Provider
	Swarm  Provider
}

// Provider is Traefik's Docker or Swarm provider.
type Provider struct {
	Enabled            bool
	ExposedByDefault   bool // default true
	AllowEmptyServices bool // unhealthy containers keep their routers
	Constraints        string
	DefaultRule        string // a template; empty: Traefik's own
	Network            string
	Refresh            time.Duration // Swarm only: time between two polls, default 15 s
}

// settingsFrom reads the flat form that all three sources are brought into:
// names in lower case, levels parted by dots.
func settingsFrom(source string, flat map[string]string) (Settings, error) {
	r := reader{source: source, flat: flat}
	s := Settings{
		Source:      source,
		Throttle:    r.duration("providers.providersthrottleduration", defaultThrottle),
		API:         r.section("api"),
		Insecure:    r.boolean("api.insecure", false),
		BasePath:    strings.TrimRight(flat["api.basepath"], "/"),
		EntryPoints: map[string]string{},
		Docker:      r.provider("docker"),
		Swarm:       r.provider("swarm"),
	}
	s.Swarm.Refresh = r.duration("providers.swarm.refreshseconds", 15*time.Second)
	if r.boolean("providers.docker.swarmmode", false) { // Traefik 2
		s.Swarm, s.Docker = s.Docker, Provider{}
		s.Swarm.Refresh = r.duration("providers.docker.swarmmoderefreshseconds", 15*time.Second)
	}
	for name, value := range flat {
		if rest, ok := strings.CutPrefix(name, "entrypoints."); ok {
			if entryPoint, ok := strings.CutSuffix(rest, ".address"); ok {
				s.EntryPoints[entryPoint] = value
			}
		}
	}
	if _, ok := s.EntryPoints["traefik"]; !ok {
		s.EntryPoints["traefik"] = ":8080"
	}
	if len(s.EntryPoints) == 1 {
		s.EntryPoints["http"] = ":80"
	}
	return s, r.err
}

// port is where an entrypoint listens, and the address to ask it at from
// inside the container. ok is false for UDP and for what cannot be read.
func (s Settings) port(entryPoint string) (port, inside string, ok bool) {
	address, protocol, _ := strings.Cut(s.EntryPoints[strings.ToLower(entryPoint)], "/")
	if strings.EqualFold(protocol, "udp") {
		return "", "", false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return "", "", false
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return port, net.JoinHostPort(host, port), true
}

// reader keeps the first thing that could not be read.
type reader struct {
	source string
	flat   map[string]string
	err    error
}

func (r *reader) bad(name, value, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("read Traefik's settings (%s): %s is %q, want %s", r.source, name, value, want)
	}
}

func (r *reader) boolean(name string, otherwise bool) bool {
	value, ok := r.flat[name]
	if !ok || value == "" {
		return otherwise
	}
	is, err := strconv.ParseBool(value)
	if err != nil {
		r.bad(name, value, "true or false")
		return otherwise
	}
	return is
}

// duration reads Traefik's durations: digits alone are seconds.
func (r *reader) duration(name string, otherwise time.Duration) time.Duration {
	value, ok := r.flat[name]
	if !ok || value == "" {
		return otherwise
	}
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	duration, err := time.ParseDuration(value)
	if err != nil {
		r.bad(name, value, "a duration like 2s")
		return otherwise
	}
	return duration
}

// section reports whether a part of the configuration is there: switched on
// by itself (--api, --providers.docker) or by one of its options.
func (r *reader) section(name string) bool {
	if value, ok := r.flat[name]; ok {
		return value != "false"
	}
	for key := range r.flat {
		if strings.HasPrefix(key, name+".") {
			return true
		}
	}
	return false
}

func (r *reader) provider(name string) Provider {
	prefix := "providers." + name
	return Provider{
		Enabled:            r.section(prefix),
		ExposedByDefault:   r.boolean(prefix+".exposedbydefault", true),
		AllowEmptyServices: r.boolean(prefix+".allowemptyservices", false),
		Constraints:        r.flat[prefix+".constraints"],
		DefaultRule:        r.flat[prefix+".defaultrule"],
		Network:            r.flat[prefix+".network"],
	}
}

// flatFlags reads a command line as Traefik does: - or --, any case, a value
// after = or in the next word. Traefik stops at the first word that is
// neither.
func flatFlags(args []string) map[string]string {
	flat := map[string]string{}
	for i := 0; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		name = strings.TrimPrefix(name, "-")
		if !isFlag || name == "" {
			break
		}
		name, value, given := strings.Cut(name, "=")
		name = strings.TrimPrefix(strings.ToLower(name), "traefik.")
		if !given {
			value = "true"
			// Only a flag that is no switch takes the next word. No switch
			// is followed by one, because that would end the flags.
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
				value = args[i]
			}
		}
		flat[name] = value
	}
	return flat
}

// flatEnvironment reads the variables that begin with TRAEFIK_.
func flatEnvironment(environment []string) map[string]string {
	flat := map[string]string{}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		if name, ok := strings.CutPrefix(strings.ToLower(name), "traefik_"); ok {
			flat[strings.ReplaceAll(name, "_", ".")] = value
		}
	}
	return flat
}

// flatFile reads a static configuration file by its extension.
func flatFile(name string, content []byte) (map[string]string, error) {
	var tree map[string]any
	var err error
	switch path.Ext(name) {
	case ".toml":
		err = toml.Unmarshal(content, &tree)
	case ".yaml", ".yml", ".json":
		err = yaml.Unmarshal(content, &tree)
	default:
		err = fmt.Errorf("its name does not end in .yml, .yaml or .toml")
	}
	if err != nil {
		return nil, fmt.Errorf("read Traefik's settings (%s): %w", name, err)
	}
	flat := map[string]string{}
	flatten(flat, "", tree)
	return flat, nil
}

// flatten takes maps and simple values. Lists hold nothing that matters here.
func flatten(flat map[string]string, prefix string, tree map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		full := prefix + strings.ToLower(name)
		switch value := tree[name].(type) {
		case nil, []any:
		case map[string]any:
			if len(value) == 0 {
				flat[full] = "true" // api: {} switches it on
			}
			flatten(flat, full+".", value)
		default:
			flat[full] = fmt.Sprint(value)
		}
	}
}
