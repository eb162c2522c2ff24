package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/internal/check"
	"github.com/roll-deploy/roll/traefik"
)

// file judges what the Compose file says about a service: what roll up would
// refuse, what would be slow, and what does not fit together. What an Engine
// told meanwhile is used where it is there.
func (c *checkup) file(service compose.Service) []check.Finding {
	image := c.image(service)
	var found []check.Finding
	say := func(id check.ID, level check.Level, confidence check.Confidence, replicas []string, refusals ...deploy.Refusal) {
		for _, r := range refusals {
			found = append(found, check.Finding{
				ID: id, Level: level, Confidence: confidence, Service: service.Name, Replicas: replicas,
				Text: joined(": ", r.What, r.Why), Fix: once(r.Instead), Path: r.Path, Where: r.Where,
			})
		}
	}
	if service.OneShot {
		return nil
	}
	say(check.Labels, check.Error, check.Certain, nil, unknownLabels(service)...)
	found = append(found, c.refused(service, image)...)
	known := compose.Image{}
	if image != nil {
		known = *image
	}
	unfit, notes := fitness(service, known, c.instances, behind(service, image))
	say(check.Labels, check.Error, check.Certain, nil, unfit...)
	for _, note := range notes {
		found = append(found, check.Finding{ID: check.Labels, Level: check.Warn, Confidence: check.Likely, Service: service.Name, Text: note, Path: []string{"networks"},
			Fix: "label traefik.docker.network: the network that Traefik is in"})
	}
	for id, clashed := range clashes(service, known, c.of(service), c.instances) {
		say(check.LabelsClash, check.Error, check.Certain, []string{c.name(id)}, clashed...)
	}
	for _, r := range c.of(service) {
		for _, h := range c.healers {
			if h.restarts(r) && c.flips(r) {
				say(check.Healer, check.Error, check.Certain, []string{r.Name}, h.refusal(service, r))
			}
		}
	}
	for _, h := range declaredHealers(c.project.Services()) {
		next := compose.Replica{Name: "replicas of " + service.Name, Labels: newcomer(service, known).Labels, Entrypoint: service.Entrypoint, Command: service.Command}
		if h.restarts(next) && c.flips(next) && !slices.ContainsFunc(found, func(f check.Finding) bool { return f.ID == check.Healer }) {
			say(check.Healer, check.Error, check.Certain, nil, h.refusal(service, next))
		}
	}
	healthcheck := healthcheckOf(service, image)
	found = append(found, check.Health(service.Name, healthcheck, service.Healthcheck != nil)...)
	found = append(found, traefikChecks(service, image)...)
	if image == nil {
		found = append(found, check.Declared(service)...)
		found = append(found, check.Drain(check.AsDeclared(service, nil), healthcheck, c.throttle())...)
	}
	return found
}

// flips reports whether a replica is told to report unhealthy before it leaves.
func (c *checkup) flips(r compose.Replica) bool {
	way, err := c.flipper.Way(r.Labels, slices.Concat(r.Entrypoint, r.Command))
	return err == nil && way != "" && way != "none"
}

// name is what a replica is called.
func (c *checkup) name(id string) string {
	for _, r := range c.replicas {
		if r.ID == id {
			return r.Name
		}
	}
	return id
}

func joined(separator string, texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(t string) bool { return t == "" }), separator)
}

// once drops the part of an advice that is for the next roll only.
func once(advice string) string {
	advice, _, _ = strings.Cut(advice, "; for replicas that ")
	advice, _, _ = strings.Cut(advice, ", and for replicas that ")
	return advice
}

// refused is what roll up would refuse of a service all of whose replicas were
// made from the file as it is, and were replaced.
func (c *checkup) refused(service compose.Service, image *compose.Image) []check.Finding {
	unsure := check.Certain
	labels, entrypoint := service.Labels, slices.Concat(service.Entrypoint, service.Command)
	healthcheck := healthcheckOf(service, image)
	if image != nil {
		labels = newcomer(service, *image).Labels
		if len(service.Entrypoint) == 0 {
			entrypoint = slices.Concat(image.Entrypoint, entrypoint)
		}
	}
	if image == nil && len(service.Entrypoint) == 0 { // it may be roll-init
		unsure = check.Likely
	}
	if image == nil && healthcheck == nil && !service.NoHealthcheck { // the image may have one
		healthcheck = &compose.Healthcheck{Test: []string{"CMD", "unknown"}}
	}
	declared := compose.Replica{
		ID: "declared", Name: "replicas of " + service.Name, Project: service.Project, Service: service.Name, Number: 1,
		State: compose.Running, Health: compose.Healthy, Labels: labels, Healthcheck: healthcheck,
	}
	way, err := c.flipper.Way(labels, entrypoint)
	if err != nil {
		return []check.Finding{{ID: check.Labels, Level: check.Error, Confidence: check.Certain, Service: service.Name, Text: err.Error(), Path: []string{"labels"}, Fix: "see roll.flip in the README"}}
	}
	snapshot := deploy.Snapshot{
		Service: service, Replicas: []compose.Replica{declared}, Expected: behind(service, image), Unprovable: "nobody is asked",
		Ways: map[string]string{declared.ID: way}, Throttle: c.throttle(),
	}
	policy, err := deploy.NewPolicy(service, deploy.Overrides{})
	if err == nil {
		_, err = deploy.New(deploy.Goal{Verb: "check", Target: -1, Replace: deploy.ReplaceAll}, snapshot, policy)
	}
	var refused *deploy.RefusedError
	if !errors.As(err, &refused) {
		return nil
	}
	// A bare roll up leaves it alone, and nothing says that it serves requests.
	level := check.Error
	if refused.Overlap && way == "" && !snapshot.Expected {
		level = check.Note
	}
	var found []check.Finding
	for _, r := range refused.Refusals {
		f := check.Finding{ID: idOf(r, way), Level: level, Confidence: check.Certain, Service: service.Name, Text: joined(": ", r.What, r.Why), Fix: once(r.Instead), Path: r.Path}
		if f.ID == check.NoFlip {
			f.Confidence = unsure
		}
		found = append(found, f)
	}
	return found
}

// idOf names the verdict of a refusal by the place that it is about.
func idOf(r deploy.Refusal, way string) check.ID {
	switch key := strings.Join(r.Path, "."); {
	case key == "container_name":
		return check.ContainerName
	case key == "ports":
		return check.FixedPort
	case key == "network_mode":
		return check.HostNetwork
	case key == "healthcheck":
		return check.NoHealthcheck
	case key == "healthcheck.test":
		return check.BlindHealthcheck
	case key == "labels" && way == "":
		return check.NoFlip
	case strings.HasPrefix(key, "labels"):
		return check.Labels
	}
	return check.Other
}

// declaredHealers are services of the file that restart unhealthy containers.
func declaredHealers(services []compose.Service) []healer {
	var found []healer
	for _, s := range services {
		image := strings.ToLower(s.Image)
		switch {
		case strings.Contains(image, "deunhealth"):
			found = append(found, healer{s.Name, s.Image, "deunhealth.restart.on.unhealthy"})
		case strings.Contains(image, "autoheal"):
			h := healer{s.Name, s.Image, "autoheal"}
			for _, line := range s.Environ {
				if value, ok := strings.CutPrefix(line, "AUTOHEAL_CONTAINER_LABEL="); ok && value != "" {
					h.label = value
				}
			}
			found = append(found, h)
		}
	}
	return found
}

// traefikChecks judges labels whose effect is not what they look like.
func traefikChecks(service compose.Service, image *compose.Image) []check.Finding {
	var found []check.Finding
	docker := healthcheckOf(service, image) != nil
	for name := range service.Labels {
		lower := strings.ToLower(name)
		switch {
		case !strings.HasPrefix(lower, "traefik."):
		case strings.Contains(lower, ".loadbalancer.healthcheck.") && (strings.HasSuffix(lower, ".path") || strings.HasSuffix(lower, ".interval")) && !docker && image != nil:
			found = append(found, check.Finding{ID: check.TraefikCheck, Level: check.Warn, Confidence: check.Certain, Service: service.Name, Path: []string{"labels", name},
				Text: "Traefik's own health check is the only one: each change of its configuration, as the start of any container, makes every server UP again until its next check",
				Fix:  "a healthcheck of the service too: Docker's verdict outlives Traefik's changes"})
		case strings.HasSuffix(lower, ".retry.attempts"):
			found = append(found, check.Finding{ID: check.RetryPosts, Level: check.Note, Confidence: check.Certain, Service: service.Name, Path: []string{"labels", name},
				Text: "requests that are repeated may still go to a replica that Traefik has dropped meanwhile: the middleware keeps the servers that it began with",
				Fix:  "label roll.settle: longer than all its attempts take"})
		}
	}
	slices.SortFunc(found, func(a, b check.Finding) int {
		return strings.Compare(strings.Join(a.Path, "."), strings.Join(b.Path, "."))
	})
	return found
}

// traefik judges the Traefiks of this Engine.
func (c *checkup) traefik(ctx context.Context) {
	expected := slices.ContainsFunc(c.services, func(s compose.Service) bool { return behind(s, c.image(s)) })
	if !expected {
		return
	}
	add := func(id check.ID, level check.Level, text, proof, fix string) {
		c.found = append(c.found, check.Finding{ID: id, Level: level, Confidence: check.Certain, Text: text, Proof: proof, Fix: fix})
	}
	if len(c.instances) == 0 {
		add(check.NoTraefik, check.Warn, "labels ask for Traefik, and none runs on this Engine: where requests go cannot be proven", "", "start it, or name it with --traefik URL")
	}
	for _, i := range c.instances {
		if i.Client == nil {
			add(check.NoAPI, check.Warn, i.Name+" cannot be asked where it routes: roll has to wait a computed time, and proves nothing", i.Reason, "--api.insecure=true on Traefik, its port not published; or --traefik URL")
		}
		if i.Throttle > slowThrottle {
			add(check.SlowTraefik, check.Warn, fmt.Sprintf("%s follows changes after up to %s: each step of a roll takes that long", i.Name, i.Throttle), "providers.providersThrottleDuration in its "+i.Settings.Source, "--providers.providersThrottleDuration=2s, its default")
		}
		if i.Settings.Source != "" && !i.Settings.Docker.Enabled {
			add(check.NoProvider, check.Warn, i.Name+" reads no containers: its Docker provider is off", "its "+i.Settings.Source, "--providers.docker=true")
		}
		if i.Client == nil {
			continue
		}
		view, err := i.Client.Raw(ctx)
		if err != nil {
			add(check.NoAPI, check.Warn, i.Name+" does not answer", err.Error(), "see its log")
			continue
		}
		c.routers(i.Name, view)
	}
}

// slowThrottle is the throttle from which on it is told; Traefik's default is 2 s.
const slowThrottle = 5 * time.Second

// routers tells errors that Traefik itself reports about a service's routers.
func (c *checkup) routers(instance string, view traefik.View) {
	for _, service := range c.services {
		for _, route := range view.Routers {
			name, provider, _ := strings.Cut(route.Name, "@")
			label := fmt.Sprintf("traefik.%s.routers.%s.", route.Protocol, name)
			if provider != "docker" || len(route.Errors) == 0 || !hasLabel(service.Labels, label) {
				continue
			}
			c.found = append(c.found, check.Finding{ID: check.RouterBroken, Level: check.Error, Confidence: check.Certain, Service: service.Name, Path: []string{"labels"},
				Text: fmt.Sprintf("%s: router %s is %s: %s", instance, route.Name, route.Status, strings.Join(route.Errors, "; ")), Proof: "Traefik's API", Fix: "the labels " + label + "*"})
		}
	}
}

func hasLabel(labels map[string]string, prefix string) bool {
	for name := range labels {
		if strings.HasPrefix(strings.ToLower(name), strings.ToLower(prefix)) {
			return true
		}
	}
	return false
}
