#!/bin/sh
# A box that follows a script: fake-box.sh LINE ...
#   say TEXT    one line            raw TEXT   the same without its newline      err TEXT   one line on stderr
#   hear TEXT   the next line must be this, else exit 97                        drain      everything to the end
#   stays TEXT  as hear, after one stay or more, which it answers
#   take N      that many bytes of a stream     close   stdin is read no more   sleep N    seconds
#   silence     for ever            deaf       the same, and asked to end it does not
#   flood       garbage for ever    exit N
# In TEXT a | stands for a tab.
tab=$(printf '\t')

for step; do
  verb=${step%% *}
  text=${step#"$verb"}
  text=${text# }
  case $text in *'|'*) text=$(printf '%s' "$text" | tr '|' "$tab") ;; esac
  case $verb in
    say) printf '%s\n' "$text" ;;
    raw) printf '%s' "$text" ;;
    err) printf '%s\n' "$text" >&2 ;;
    hear)
      IFS= read -r line
      if [ "$line" != "$text" ]; then
        printf 'heard "%s", not "%s"\n' "$line" "$text" >&2
        exit 97
      fi
      ;;
    stays)
      stays=0
      while IFS= read -r line && [ "$line" = stay ]; do
        stays=$((stays + 1))
        echo ok
      done
      if [ "$line" != "$text" ] || [ "$stays" -eq 0 ]; then
        printf 'heard "%s" after %s signs of life, not "%s"\n' "$line" "$stays" "$text" >&2
        exit 97
      fi
      ;;
    take) head -c "$text" >/dev/null ;;
    close) exec <&- ;;
    drain) cat >/dev/null ;;
    sleep) sleep "$text" ;;
    silence) exec sleep 60 ;;
    deaf)
      trap '' TERM
      exec sleep 60
      ;;
    flood) exec yes "$(printf '%0200d' 0)" ;;
    exit) exit "$text" ;;
  esac
done
exit 0
