#!/usr/bin/env bash
# The `spoor` of the lessons' scripts on a cluster: kubectl reads and writes policies; the program in
# a pod sends load and reads traces.
#
# KUBECTL, NAMESPACE and TRACES_URL are the cluster's; MAX_TRACE_DELAY is the time in seconds within
# which traces arrive.
set -euo pipefail

k() { "$KUBECTL" --namespace "$NAMESPACE" "$@"; }
run_in_pod() { k exec --stdin deployment/preprocessing -- /usr/local/bin/spoor "$@"; }

# Waits until a policy is in force, or is not accepted.
wait_for_policy() { # samplingpolicy/NAME
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

set_error_rate() { # SHARE of the requests to service-b that fail
    k set env deployment/service-b "SPOOR_B_ERROR_RATE=$1" >&2
    k rollout status deployment/service-b --timeout=120s >&2
    # Pods that terminate still respond on open connections, with the rate from before.
    local replicas deadline=$((SECONDS + 120))
    replicas=$(k get deployment service-b --output jsonpath='{.spec.replicas}')
    until [ "$(k get pods --selector spoor.dev/service=service-b --output name | wc -l)" -eq "$replicas" ]; do
        if [ "$SECONDS" -gt "$deadline" ]; then
            echo "pods of service-b with another error rate do not end" >&2
            return 1
        fi
        sleep 0.5
    done
}

verb=$1
shift
case $verb in
apply)
    files=()
    for argument; do [ "$argument" = --wait ] || files+=("$argument"); done
    for policy in $(k apply --output name "${files[@]}"); do wait_for_policy "$policy"; done
    ;;
delete) k delete samplingpolicy "$1" ;;
get) k get samplingpolicy "${@:2}" ;;
traces) run_in_pod traces "$@" --traces-url "$TRACES_URL" </dev/null ;;
load) run_in_pod load --url http://service-a:8080 "$@" </dev/null ;;
fault)
    case $* in
    "service-b --errors "*) set_error_rate "$3" ;;
    --clear) set_error_rate 0% ;;
    *) echo "spoor fault $*: not supported on a cluster" >&2 && exit 2 ;;
    esac
    ;;
check)
    [[ " $* " == *" --wait "* ]] || set -- "$@" --wait "${MAX_TRACE_DELAY}s"
    k get samplingpolicy --output json | run_in_pod check "$@" --policies - --traces-url "$TRACES_URL"
    ;;
*) echo "spoor $verb: not supported on a cluster" >&2 && exit 2 ;;
esac
