package traefik

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Source is one container as Traefik's Docker provider sees it.
type Source struct {
	Name    string // of the container; only default rules look at it
	Service string // of Compose
	Project string
	Labels  map[string]string
}

// Conflict is an object that Traefik deletes, for everybody, as long as two
// containers define it differently.
type Conflict struct {
	Kind        string // router, service, middleware, TLS store
	Protocol    Protocol
	Name        string // without @docker
	Differences []Difference
	Consequence string // what clients see meanwhile
}

// Object names what is deleted as Traefik's API does.
func (c Conflict) Object() string {
	return object{kind: c.Kind, protocol: c.Protocol, name: c.Name}.String()
}

// Difference is one label of which two containers say different things. Old
// and New are fit to be shown: quoted, "not set", what Traefik makes up in its
// place, or "hidden" for what may be a secret.
type Difference struct {
	Label    string // as the new container has it, else as the old one, else as it would be written
	Old, New string
}

// Conflicts tells what Traefik's Docker provider deletes while it keeps both
// containers: it merges what their labels define, and an object that two of
// them define differently is defined no more (facts.md A1; Merge in Traefik's
// pkg/provider/configuration.go). A service's server may differ in port,
// scheme and weight. What only one of the containers defines is no conflict.
//
// Values that are written differently count as equal only where Traefik's own
// parser surely makes the same of them.
func Conflicts(old, new Source, provider Provider) []Conflict {
	if provider.ignores(old.Labels) || provider.ignores(new.Labels) {
		return nil
	}
	before, after := objects(old, provider), objects(new, provider)
	var conflicts []Conflict
	for key, a := range before {
		b, both := after[key]
		if !both {
			continue
		}
		if differences := a.differences(b); len(differences) > 0 {
			conflicts = append(conflicts, Conflict{
				Kind: a.kind, Protocol: a.protocol, Name: a.name, Differences: differences, Consequence: consequence(a),
			})
		}
	}
	slices.SortFunc(conflicts, func(a, b Conflict) int {
		return cmp.Or(slices.Index(kinds, a.Kind)-slices.Index(kinds, b.Kind), strings.Compare(string(a.Protocol), string(b.Protocol)), strings.Compare(a.Name, b.Name))
	})
	return conflicts
}

// The kinds of objects, in the order in which they are told.
const (
	routerKind     = "router"
	serviceKind    = "service"
	middlewareKind = "middleware"
	storeKind      = "TLS store"
)

var kinds = []string{routerKind, serviceKind, middlewareKind, storeKind}

// object is what labels define, by the names that Traefik compares: those of
// options in lower case, except below an option whose keys are the user's own.
type object struct {
	kind     string
	protocol Protocol
	name     string
	options  map[string]option
}

// option is one label, or what Traefik puts in its place.
type option struct {
	label   string // as written; empty: implied
	value   string // as Traefik understands it
	written string
}

func (o object) String() string {
	text := o.kind + " " + o.name + "@docker"
	if o.kind == storeKind {
		return o.kind + " " + o.name
	}
	if o.protocol != HTTP {
		text = strings.ToUpper(string(o.protocol)) + " " + text
	}
	return text
}

// label is how an option of the object is written.
func (o object) label(option string) string {
	return "traefik." + string(o.protocol) + "." + o.kind + "s." + o.name + "." + option
}

func (o object) differences(other object) []Difference {
	var all []Difference
	names := maps.Clone(o.options)
	maps.Copy(names, other.options)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, here := o.options[name]
		b, there := other.options[name]
		if here && there && a.value == b.value {
			continue
		}
		label := cmp.Or(b.label, a.label, o.label(name))
		all = append(all, Difference{Label: label, Old: a.show(here, label), New: b.show(there, label)})
	}
	return all
}

func (o option) show(set bool, label string) string {
	switch {
	case !set:
		return "not set"
	case secret(label):
		return "hidden"
	case o.label == "":
		return o.written
	}
	return strconv.Quote(o.written)
}

// secret reports whether a label may hold what must not be printed.
func secret(label string) bool {
	lower := strings.ToLower(label)
	return slices.ContainsFunc([]string{"auth.users", "password", "secret", "token", "authorization", "plugin."}, func(word string) bool {
		return strings.Contains(lower, word)
	})
}

func consequence(o object) string {
	switch {
	case o.kind == storeKind:
		return "Traefik serves its own certificate instead of the store's"
	case o.protocol == UDP:
		return "packets are dropped"
	case o.protocol == TCP:
		return "connections are closed at once"
	case o.kind == routerKind:
		return "its requests get 404"
	}
	return "the requests of every router that leads to it get 404"
}

// objects are what a container's labels define, by their String.
func objects(s Source, provider Provider) map[string]object {
	b := builder{source: s, provider: provider, defined: map[string]object{}}
	for _, label := range slices.Sorted(maps.Keys(s.Labels)) {
		b.read(label)
	}
	b.imply()
	all := map[string]object{}
	for _, o := range b.defined {
		all[o.String()] = o
	}
	return all
}

// builder collects the objects of one container.
type builder struct {
	source   Source
	provider Provider
	defined  map[string]object // key: String in lower case, because names in one container do not differ by case alone
}

// sections are where labels define something, with the number of words up to
// the name. Transports and TLS options cannot be defined by labels, and
// Traefik ignores them there.
var sections = []struct {
	prefix   string
	kind     string
	protocol Protocol
}{
	{"traefik.http.routers.", routerKind, HTTP}, {"traefik.http.services.", serviceKind, HTTP}, {"traefik.http.middlewares.", middlewareKind, HTTP},
	{"traefik.tcp.routers.", routerKind, TCP}, {"traefik.tcp.services.", serviceKind, TCP}, {"traefik.tcp.middlewares.", middlewareKind, TCP},
	{"traefik.udp.routers.", routerKind, UDP}, {"traefik.udp.services.", serviceKind, UDP},
	{"traefik.tls.stores.", storeKind, "tls"},
}

// read takes in one label. Labels have to come sorted: of names that differ
// by case alone Traefik keeps the first, and of their values the last.
func (b *builder) read(label string) {
	for _, section := range sections {
		if len(label) <= len(section.prefix) || !strings.EqualFold(label[:len(section.prefix)], section.prefix) {
			continue
		}
		name, path, _ := strings.Cut(label[len(section.prefix):], ".")
		if path == "" || section.kind == storeKind && !strings.EqualFold(name, "default") {
			return
		}
		o := b.object(section.kind, section.protocol, name)
		folded := fold(path)
		if o.kind == serviceKind && strings.HasPrefix(folded, "loadbalancer.server.") {
			return // consumed into the address of this container's server
		}
		value := b.source.Labels[label]
		o.options[folded] = option{label: label, value: understood(o.kind, folded, value), written: value}
		return
	}
}

// object returns the one of that name, new if it is not there.
func (b *builder) object(kind string, protocol Protocol, name string) object {
	o := object{kind: kind, protocol: protocol, name: name}
	key := strings.ToLower(o.String())
	if known, ok := b.defined[key]; ok {
		return known
	}
	o.options = map[string]option{}
	b.defined[key] = o
	return o
}

func (b *builder) named(kind string, protocol Protocol) []object {
	var found []object
	for _, o := range b.defined {
		if o.kind == kind && o.protocol == protocol {
			found = append(found, o)
		}
	}
	return found
}

// imply adds what Traefik makes up: a service for a container that names
// none, a router for one that has none, the rule of a router without one, and
// the service of a router that names none.
func (b *builder) imply() {
	for _, o := range b.defined {
		o.tidy()
	}
	name := normalize(b.source.Service + "_" + b.source.Project)
	other := false
	for _, protocol := range []Protocol{TCP, UDP} {
		routers, services := b.named(routerKind, protocol), b.named(serviceKind, protocol)
		if len(routers)+len(services) == 0 {
			continue
		}
		other = true
		if len(services) == 0 {
			services = []object{b.object(serviceKind, protocol, name)}
		}
		for _, router := range routers {
			_, ruled := router.options["rule"]
			if !ruled && protocol == TCP || !b.lead(router, services) {
				delete(b.defined, strings.ToLower(router.String()))
			}
		}
	}
	routers, services := b.named(routerKind, HTTP), b.named(serviceKind, HTTP)
	if other && len(routers)+len(services)+len(b.named(middlewareKind, HTTP)) == 0 {
		return
	}
	if len(services) == 0 {
		services = []object{b.object(serviceKind, HTTP, name)}
	}
	if len(routers) == 0 && len(services) == 1 {
		routers = []object{b.object(routerKind, HTTP, name)}
	}
	for _, router := range routers {
		if rule, ok := router.options["rule"]; !ok || rule.value == "" {
			router.options["rule"] = b.defaultRule()
		}
		if !b.lead(router, services) {
			delete(b.defined, strings.ToLower(router.String()))
		}
	}
}

// lead gives a router without a service the only one that there is. With
// several, Traefik drops the router.
func (b *builder) lead(router object, services []object) bool {
	if service, ok := router.options["service"]; ok && service.value != "" {
		return true
	}
	if len(services) != 1 {
		return false
	}
	router.options["service"] = option{value: services[0].name, written: strconv.Quote(services[0].name) + " (implied)"}
	return true
}

const defaultRule = "Host(`{{ normalize .Name }}`)"

// defaultRule stands for what the provider's template gives: two containers of
// one Compose service differ only in what else the template looks at. A rule
// that somebody wrote is never equal to one made by default, because Traefik
// remembers which it was.
func (b *builder) defaultRule() option {
	template := cmp.Or(b.provider.DefaultRule, defaultRule)
	value := template
	if strings.Contains(template, ".ContainerName") {
		value += " ContainerName=" + b.source.Name
	}
	if strings.Contains(template, ".Labels") {
		all := strings.Contains(template, "range")
		for _, label := range slices.Sorted(maps.Keys(b.source.Labels)) {
			if all || strings.Contains(template, label) {
				value += " " + label + "=" + b.source.Labels[label]
			}
		}
	}
	return option{value: "default rule: " + value, written: fmt.Sprintf("the default rule %q", value)}
}

// fold brings the name of an option into the case in which it is compared.
// Below some options the rest is the key of a map, and its case counts.
func fold(path string) string {
	words := strings.Split(path, ".")
	for i, word := range words {
		words[i] = strings.ToLower(word)
		switch {
		case slices.Contains([]string{"customrequestheaders", "customresponseheaders", "sslproxyheaders", "statusrewrites", "plugin"}, words[i]),
			words[i] == "headers" && i > 0 && words[i-1] == "healthcheck":
			return strings.Join(words, ".")
		}
	}
	return strings.Join(words, ".")
}

// The options of which Traefik compares something else than the text, by kind.
// Only those are here that have had one type in every version.
var typed = map[string]map[string]func(string) (string, bool){
	routerKind: {
		"entrypoints": commaList, "middlewares": commaList, "priority": number, "tls": presence, "tls.passthrough": boolean,
		"observability.accesslogs": boolean, "observability.metrics": boolean, "observability.tracing": boolean,
	},
	serviceKind: {
		"loadbalancer.passhostheader": boolean, "loadbalancer.responseforwarding.flushinterval": duration,
		"loadbalancer.sticky": presence, "loadbalancer.sticky.cookie": presence,
		"loadbalancer.sticky.cookie.secure": boolean, "loadbalancer.sticky.cookie.httponly": boolean,
		"loadbalancer.healthcheck.followredirects": boolean, "loadbalancer.healthcheck.port": number,
	},
	middlewareKind: {
		"chain.middlewares": commaList, "stripprefix.prefixes": commaList, "basicauth.users": commaList, "digestauth.users": commaList,
		"ipallowlist.sourcerange": commaList, "ipwhitelist.sourcerange": commaList,
		"compress": presence, "redirectscheme.permanent": boolean,
	},
}

func understood(kind, option, value string) string {
	if parse, ok := typed[kind][option]; ok {
		if parsed, ok := parse(value); ok {
			return parsed
		}
	}
	return value
}

func boolean(text string) (string, bool) {
	value, err := strconv.ParseBool(text)
	return strconv.FormatBool(value), err == nil
}

func number(text string) (string, bool) {
	value, err := strconv.ParseInt(text, 10, 64)
	return strconv.FormatInt(value, 10), err == nil
}

// duration reads Traefik's: digits alone are seconds.
func duration(text string) (string, bool) {
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return (time.Duration(seconds) * time.Second).String(), true
	}
	value, err := time.ParseDuration(text)
	return value.String(), err == nil
}

func commaList(text string) (string, bool) {
	words := strings.Split(text, ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	return strings.Join(words, ","), true
}

// presence is of sections that are switched on by a label of their own. Any
// other text than true switches them off.
func presence(text string) (string, bool) {
	return "true", text == "" || strings.EqualFold(text, "true")
}

// tidy removes what changes nothing: a section that is switched on although
// one of its options does that too, and a default that is written out.
func (o object) tidy() {
	for name, option := range o.options {
		kind := typed[o.kind][name]
		if kind == nil || option.value != "true" {
			continue
		}
		_, section := presence(option.written)
		if section && slices.Contains([]string{"tls", "loadbalancer.sticky", "loadbalancer.sticky.cookie", "compress"}, name) && o.below(name) ||
			name == "loadbalancer.passhostheader" && o.protocol == HTTP {
			delete(o.options, name)
		}
	}
}

func (o object) below(name string) bool {
	for other := range o.options {
		if strings.HasPrefix(other, name+".") {
			return true
		}
	}
	return false
}
