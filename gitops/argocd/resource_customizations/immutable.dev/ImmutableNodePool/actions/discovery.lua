-- Actions of pools are objects in the namespace of the operator, which a script cannot know.
local actions = {}
if obj.spec.suspend == true then
  actions["resume"] = { ["iconClass"] = "fa fa-fw fa-play" }
else
  actions["suspend"] = { ["iconClass"] = "fa fa-fw fa-pause" }
end
return actions
