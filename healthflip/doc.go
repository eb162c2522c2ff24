// Package healthflip tells one running replica to report unhealthy while it
// goes on serving (flip), and to report healthy again (unflip). A router that
// follows Docker's health then takes the replica out before it is stopped.
//
// Labels on the container decide the way, so that every replica carries the
// one it understands, whatever the Compose file says today:
//
//	roll.flip.http: /sethealth/ko     call the replica; needs roll.unflip.http,
//	                                  may have roll.flip.port and roll.flip.method
//	roll.flip.exec: touch /tmp/drain  run in the replica; needs roll.unflip.exec
//	roll.flip.file: /tmp/drain        create and remove a marker file
//	roll.flip.signal: SIGUSR1         send a signal; needs roll.unflip.signal
//	roll.flip: init                   PID 1 is roll-init; found without a label too
//	roll.flip: none                   nothing is done: lost requests are accepted
//
// A replica has exactly one way. The package does not judge whether a flip
// worked: the replica's next failing probe shows that (facts.md D1).
//
// # HTTP
//
// The port is roll.flip.port, else the only server port among the Traefik
// labels, else the only exposed TCP port. The replica is called on its network
// addresses when the Engine runs on this machine, and through curl or wget
// inside the replica when that does not connect or the Engine is elsewhere: an
// address of a distant Engine's network may belong to another container here.
// An answer of 2xx is success. curl and the direct call follow no redirect;
// wget does, and its first answer decides.
//
// # Marker file
//
// The marker is written through the Engine's archive API, which needs nothing
// in the image. That API cannot remove a file, so unflip runs rm when the image
// has it. When it has not, unflip replaces the marker by a symbolic link to a
// path that does not exist. A healthcheck that follows links (test -e, test -f,
// stat(2), Go's os.Stat) finds no file in both cases. One that does not (lstat,
// test -L, a listing of the directory) would go on seeing the link, so it must
// not be used. An application that removes its own marker at start is fine.
//
// The healthcheck command has to look at the marker, and on an image without a
// shell it has to be the application's own binary.
package healthflip
