# Completes kubectl-immutable in fish. Save it where fish finds it:
#   kubectl immutable completion fish > ~/.config/fish/completions/kubectl-immutable.fish
# "kubectl immutable" is completed by kubectl's own completion (kubectl completion fish).

function __kubectl_immutable_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l answer (kubectl-immutable __complete $words[2..-1] "$last" 2> /dev/null)
    if test "$answer[-1]" = ":0"
        __fish_complete_path (string replace -r -- '^-.*=' '' "$last")
        return
    end
    # Fish completes whole words: --option=value.
    set -l start (string match -r -- '^-.*=' "$last")
    for line in $answer
        string match -qr -- '^:[0-9]+$' $line; or echo "$start$line"
    end
end

complete -c kubectl-immutable -f -a '(__kubectl_immutable_complete)'
