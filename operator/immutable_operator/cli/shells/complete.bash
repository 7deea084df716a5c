# Completes kubectl-immutable in bash. Load it in each shell:
#   echo 'source <(kubectl immutable completion bash)' >> ~/.bashrc
# "kubectl immutable" is completed by kubectl's own completion (kubectl completion bash).

_kubectl_immutable() {
  local typed=${COMP_LINE:0:COMP_POINT} directive=4 line
  local -a words
  read -r -a words <<< "$typed"
  [[ $typed == *[[:space:]] ]] && words+=('')
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :[0-9]* ]]; then
      directive=${line#:}
    else
      COMPREPLY+=("${line%%$'\t'*}")
    fi
  done < <(kubectl-immutable __complete "${words[@]:1}" 2> /dev/null)
  if [[ $directive == 0 ]]; then
    compopt -o default 2> /dev/null
  fi
}

complete -F _kubectl_immutable kubectl-immutable
