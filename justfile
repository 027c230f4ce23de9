# Every recipe is a line or two over the go command; nothing needs just.

# list the recipes
default:
    @just --list

# exactly what CI runs
check:
    bash .ci/run

# an all-in-one fleet on a data folder of its own, with the status page
dev:
    go run . up --data .dev

# the fast tests: what the README names
test:
    go test ./...

# the built binary against real servers, crashes included
e2e:
    TRANSHIP_LONG=1 go test -count=1 -timeout 40m ./internal/e2e/

# every process killed and frozen at random for half an hour, and a hundred thousand simulated stories
soak:
    TRANSHIP_LONG=1 TRANSHIP_SOAK=30 go test -count=1 -v -timeout 60m -run TestChaos ./internal/e2e/
    TRANSHIP_LONG=1 TRANSHIP_SEEDS=100000 go test -count=1 -timeout 60m -run TestSeeds ./internal/sim/

# rewrite golden files after a change that is meant
golden:
    go test ./internal/work ./coordinator/web ./internal/cli -update

# measure against rclone, and the control plane without storage
bench:
    TRANSHIP_LONG=1 go test -run '^$' -bench Rclone -benchtime 1x -timeout 30m ./internal/e2e/
    go test -run '^$' -bench ControlPlane -benchtime 200000x ./coordinator/

# deb and rpm packages in dist/
package version:
    deploy/package/build.sh {{version}}

# a static binary in dist/
build:
    CGO_ENABLED=0 go build -trimpath -o dist/tranship .
