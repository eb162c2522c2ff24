// Package traefik asks Traefik what it routes: it finds the instances that a
// Docker daemon runs and a way to the API of each (Discover), asks one (Client)
// or all of them (Router), and tells which addresses get the requests of which
// service (View). It changes nothing.
package traefik
