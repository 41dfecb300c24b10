#!/usr/bin/env bash
# What the lessons' scripts call `spoor`, on a cluster: policies go through kubectl, load is sent
# and traces are read by the program in a pod.
#
# KUBECTL, NAMESPACE and TRACES_URL say where, TRACES_COME_WITHIN (seconds) when.
set -euo pipefail

k() { "$KUBECTL" --namespace "$NAMESPACE" "$@"; }
inside() { k exec --stdin deployment/preprocessing -- /usr/local/bin/spoor "$@"; }

# Until a policy is in force, or is said to decide nothing.
awaited() { # samplingpolicy/NAME
    local deadline=$((SECONDS + 60))
    until k get "$1" --output json | jq --exit-status '
        .metadata.generation as $now
        | [.status.conditions[]? | select(.observedGeneration == $now) | {(.type): .status}]
        | add // {}
        | .Converged == "True" or .Accepted == "False"' >/dev/null; do
        if [ "$SECONDS" -gt "$deadline" ]; then
            echo "$1 is not in force" >&2
            return 1
        fi
        sleep 0.2
    done
}

broken() { # SHARE of the requests to service-b that fail
    k set env deployment/service-b "SPOOR_B_ERROR_RATE=$1" >&2
    k rollout status deployment/service-b --timeout=120s >&2
}

verb=$1
shift
case $verb in
apply)
    files=()
    for argument; do [ "$argument" = --wait ] || files+=("$argument"); done
    for policy in $(k apply --output name "${files[@]}"); do awaited "$policy"; done
    ;;
delete) k delete samplingpolicy "$1" ;;
get) k get samplingpolicy "${@:2}" ;;
traces) inside traces "$@" --traces-url "$TRACES_URL" </dev/null ;;
load) inside load --url http://service-a:8080 "$@" </dev/null ;;
fault)
    case $* in
    "service-b --errors "*) broken "$3" ;;
    --clear) broken 0% ;;
    *) echo "spoor fault $*: not known on a cluster" >&2 && exit 2 ;;
    esac
    ;;
check)
    [[ " $* " == *" --wait "* ]] || set -- "$@" --wait "${TRACES_COME_WITHIN}s"
    k get samplingpolicy --output json | inside check "$@" --policies - --traces-url "$TRACES_URL"
    ;;
*) echo "spoor $verb: not known on a cluster" >&2 && exit 2 ;;
esac
