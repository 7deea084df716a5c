#compdef kubectl-immutable
# Completes kubectl-immutable in zsh. Load it in each shell, after compinit:
#   echo 'source <(kubectl immutable completion zsh)' >> ~/.zshrc
# "kubectl immutable" is completed by kubectl's own completion (kubectl completion zsh).

_kubectl_immutable() {
  local -a offers
  local line name directive=4
  for line in "${(@f)$(kubectl-immutable __complete "${(@)words[2,CURRENT]}" 2> /dev/null)}"; do
    if [[ $line == :<-> ]]; then
      directive=${line#:}
    elif [[ -n $line ]]; then
      name=${line%%$'\t'*}
      offers+=("${name//:/\\:}${${line#$name}/$'\t'/:}")
    fi
  done
  [[ $PREFIX == -*=* ]] && compset -P '*='
  if (( directive == 0 )); then
    _files
  else
    _describe 'candidate' offers
  fi
}

compdef _kubectl_immutable kubectl-immutable
