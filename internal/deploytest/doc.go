// Package deploytest tries what a user deploys with and the compiler does not
// see: docker-compose.yml, by the library that docker compose itself is made
// of; the files under deploy/; and that names and versions which stand in
// several places are the same in all of them.
package deploytest
