// Package e2e proves the promise on real parts: the roll binary, an Engine,
// Compose and Traefik, under load. Its tests carry the build tag e2e and fail
// where the lab cannot be brought up.
package e2e
