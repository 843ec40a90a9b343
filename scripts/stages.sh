# Numbered stages with their times, and plain messages. Sourced by ./dev.

if [ -t 1 ]; then
  bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
  bold='' red='' green='' plain=''
fi

stages_total=0
stage_number=0
stage_title=
stage_begin=0
stage_lines=()
stage_failures=()

say() { printf '%s\n' "$*"; }
complain() { printf '%s./dev: %s%s\n' "$red" "$*" "$plain" >&2; }
fail() { complain "$*"; exit 1; }
fail_usage() { complain "$* (./dev --help)"; exit 2; }

duration() { # SECONDS -> "1 min 05 s"
  if [ "$1" -lt 60 ]; then printf '%d s' "$1"; else printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); fi
}

stage_count() { stages_total=$1; }

# Begins the next stage and ends the one before.
stage() {
  end_stage
  stage_number=$((stage_number + 1))
  stage_title=$1
  stage_begin=$SECONDS
  printf '%s[%d/%d] %s%s\n' "$bold" "$stage_number" "$stages_total" "$stage_title" "$plain"
}

end_stage() {
  [ -n "$stage_title" ] || return 0
  local took=$((SECONDS - stage_begin))
  stage_lines+=("$(printf '%10s  %s' "$(duration $took)" "$stage_title")")
  if [ $took -ge 2 ]; then printf '      %s\n' "$(duration $took)"; fi
  stage_title=
}

# Remembers that something failed, so that the rest can still run.
stage_failed() {
  complain "failed: $1"
  stage_failures+=("$1")
}

# Where the time went.
finish_stages() {
  end_stage
  printf '%sWhere the time went%s\n' "$bold" "$plain"
  printf '%s\n' "${stage_lines[@]}"
  printf '%10s  in all\n' "$(duration $SECONDS)"
}
